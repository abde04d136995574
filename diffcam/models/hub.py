"""The model hub: why a model cannot be had from it, in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from diffcam.errors import first_line


def why_not(source: str, error: BaseException) -> str:
    """Why a model could not be loaded and what to do, in one line.

    Args:
        source: Folder or name on the hub that it was to come from.
        error: What the loader raised; it may be about something else than the hub's own error, which it came from.
    """
    if Path(source).exists():
        return f"{first_line(error)}; check the folder"
    reasons = (_said_by_the_hub(cause) for cause in reversed(list(_causes(error))))
    return next((reason for reason in reasons if reason is not None), first_line(error))


def _said_by_the_hub(error: BaseException) -> str | None:
    """What one of the hub's own errors means to the user; None for others."""
    if isinstance(error, GatedRepoError):
        return "accept its licence on the hub and log in with `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return "no such folder and no such name on the hub; a private one needs `hf auth login`"
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        where = "no such folder, not in the hub's local cache, and the hub cannot be reached"
        return f"{where}: check the connection and HF_HUB_OFFLINE, or name a folder"
    if isinstance(error, HfHubHTTPError) and not isinstance(error, EntryNotFoundError):
        return f"the hub answers: {first_line(error)}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
