"""The model hub: what is had from it as a folder, and why a model cannot be had, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from diffcam.errors import DiffcamError, first_line


def local_folder(source: str, files: Sequence[str]) -> Path:
    """A folder as it is, or the folder that files of a name on the hub are kept in here.

    Args:
        source: Folder, or name on the hub such as ``owner/name``.
        files: Names, or patterns of names, of what is needed from the hub.

    Raises:
        DiffcamError: If there is neither, with the reason.
    """
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(snapshot_download(source, allow_patterns=list(files)))
    except (OSError, ValueError) as error:
        raise DiffcamError(f"{source}: {why_not(source, error)}") from error


def upload(folder: str, name: str, *, message: str | None, private: bool | None, token: str | None) -> str:
    """Add the files of a folder to a repository on the hub, which is made if there is none; returns the commit's URL.

    Raises:
        DiffcamError: If it cannot be done, with the reason.
    """
    api = HfApi(token=token)
    try:
        name = api.create_repo(name, private=private, exist_ok=True).repo_id
        return api.upload_folder(repo_id=name, folder_path=folder, commit_message=message).commit_url
    except (OSError, ValueError) as error:
        raise DiffcamError(f"{name}: not uploaded: {why_not(name, error)}") from error


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
    if isinstance(error, HFValidationError):
        return "no such folder, and no name that the hub could know"
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
