"""Training with the transformer spread over devices (FSDP2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy

from diffcam.tasks.weights import check_trained_keys, read_checkpoint


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's FSDP2 with checkpoints of one file, as without sharding, which are checked before they are loaded.

    Lightning's own loads what fits and passes over the rest, before the task sees the checkpoint.

    Args:
        devices: That share one copy of the weights; as many as train in all.
    """

    def __init__(self, devices: int) -> None:
        super().__init__(devices, tensor_parallel_size=1, save_distributed_checkpoint=False)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Load weights and optimizer, and return the rest.

        Raises:
            DiffcamError: If the checkpoint does not hold exactly the trained weights.
        """
        check_trained_keys(self.lightning_module, read_checkpoint(Path(checkpoint_path)))  # type: ignore[arg-type]
        return super().load_checkpoint(checkpoint_path, weights_only)
