"""Atomic Orbax writes that leave no absolute path behind."""

import orbax.checkpoint as ocp

_MARK = "commit_success.txt"


class PathFreeTemporaryPath(ocp.path.atomicity.AtomicRenameTemporaryPath):
    """Orbax's write-then-rename; its mark of success then says no more than that.

    Orbax writes the destination's absolute path into the mark. A checkpoint is to be copied and shared.
    """

    async def finalize(self) -> None:
        """Renames the folder, as Orbax does, and rewrites the mark."""
        await super().finalize()
        (self.get_final() / _MARK).write_text("Checkpoint commit was successful")
