"""What the options of every space say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isnas.base.options import Component

if TYPE_CHECKING:
    from isnas.space.space import AnyGenotype, Space


@dataclass(frozen=True)
class SpaceOptions(Component):
    """What every space's options say: the space, and the sizes of networks in it."""

    @property
    def has_space(self) -> bool:
        """Whether these are options of some space; a method's own are not, before they are composed with one."""
        return type(self).make_space is not SpaceOptions.make_space

    def resolve(self, arch: str, one_stage: bool | None = None) -> AnyGenotype:
        """The architecture that a user names, with the batch normalisations that it has in a network of these sizes.

        Raises:
            UserError: when there is none of the name, or ``one_stage`` contradicts it.
        """
        raise NotImplementedError

    def lasting(self, arch: str) -> str:
        """What names the same architecture when files are gone: ``arch``, or the architecture in a file as text."""
        raise NotImplementedError

    def make_space(self) -> Space:
        """The space that is searched."""
        raise NotImplementedError

    def sizes(self, channels: int, num_classes: int) -> dict[str, Any]:
        """What ``super_net`` and ``target_network`` want to know, for images of so many channels and classes."""
        raise NotImplementedError

    def check_parts(self, parts: int) -> None:
        """See that the operations of a super-net can see one of so many equal parts of the channels.

        Raises:
            UserError: when they cannot.
        """
        raise NotImplementedError

    @property
    def total_stride(self) -> int:
        """By what a network of these sizes divides the side of its images, rounded up; 1 where a space does not say."""
        return 1

    def check_images(self, image_size: int, auxiliary: bool) -> None:
        """See that networks of these sizes can take images of this side.

        Raises:
            UserError: when they cannot.
        """
        raise NotImplementedError
