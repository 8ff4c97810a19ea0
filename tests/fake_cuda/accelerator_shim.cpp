// Loaded before torch in a process of the fake-CUDA tests. A CUDA build of torch without a GPU believes in an
// accelerator all the same, and its autograd engine then fails as it asks for the current stream. These two answers of
// ATen/DeviceAccelerator.h take the place of its own: there is none, so there are no streams to look after.
#include <cstdint>
#include <optional>

namespace c10 {
enum class DeviceType : int8_t;
}

namespace at::accelerator {
__attribute__((visibility("default"))) std::optional<c10::DeviceType> getAccelerator(bool) { return std::nullopt; }
__attribute__((visibility("default"))) bool isAccelerator(c10::DeviceType) { return false; }
}  // namespace at::accelerator
