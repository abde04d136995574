"""The Hugging Face hub: local folders of its models, and reasons in words why a model cannot be loaded."""

from __future__ import annotations

from collections.abc import Sequence
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
    """The folder itself, or the local snapshot of a model on the hub, downloaded where needed.

    Args:
        source: Folder, or name on the hub such as ``owner/name``.
        files: Names, or patterns of names, of the files to download.

    Raises:
        DiffcamError: If there is no such folder or model; the message holds the reason.

    Examples:
        >>> local_folder("no such model", ["*.safetensors"])
        Traceback (most recent call last):
        diffcam.errors.DiffcamError: no such model: no such folder, and no name that the hub could know
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
    """Why a model could not be loaded and what to do, in one line; the hub's own error may be a cause of this one."""
    reason = first_line(error)
    if Path(source).exists():
        return f"{reason}; check the folder"
    cause: BaseException | None = error
    while cause is not None:  # the innermost error of the hub says most: "not in the cache" may wrap its refusal
        reason = _hub_reason(cause) or reason
        cause = cause.__cause__ or cause.__context__
    return reason


def _hub_reason(error: BaseException) -> str | None:
    """Meaning of one of the hub's own errors to the user; None for others."""
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
