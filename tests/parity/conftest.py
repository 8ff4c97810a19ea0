"""Everything here is computed in float64 on one thread, as the numbers were; other tests get back what they had."""

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def float64_on_one_thread():
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
