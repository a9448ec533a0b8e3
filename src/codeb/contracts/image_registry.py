"""What we need of the image registry itself, where images are pushed to: what is there, and its end."""

from collections.abc import Sequence
from typing import Protocol

from codeb.model.images import Manifest


class ImageRegistry(Protocol):
    """The configured image registry. Repositories are named without its address.

    Raises `Unavailable`: `image_registry_unavailable` when it does not answer, or answers what is no answer;
    `image_registry_denied` when it wants other credentials.
    """

    async def repositories(self) -> Sequence[str]:
        """All of them, empty ones too. Raises `NotFound` (`catalog_not_offered`) where the registry does not tell."""

    async def tags(self, repository: str) -> Sequence[str]:
        """Sorted; none for a repository that is not there."""

    async def digest(self, repository: str, tag: str) -> str | None:
        """What a tag points at now; None when it is not there."""

    async def look(self, repository: str, digest: str) -> Manifest | None:
        """The manifest of a digest; None when it is not there."""

    async def may_erase(self, repository: str) -> None:
        """Raises `Conflict` (`deletion_disabled`) where the registry deletes nothing. Deletes nothing itself."""

    async def erase(self, repository: str, digest: str) -> None:
        """Delete a manifest with every tag that points at it. One that is not there: nothing done. Raises as `may_erase` does."""
