"""The entry point: every command of `drawbreak`, each loaded only when it is asked for."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import version
from keyword import iskeyword

import click

from runtime.environment import SettingsError
from runtime.process import DIE_WITH_PARENT, Locked, die_with_parent

# Starting a database should not wait for everything that the API imports: seven programs start at once.
COMMANDS = {
    "announce": "cli.run",
    "audit": "cli.audit",
    "books": "cli.books",
    "check-receipt": "cli.receipts",
    "dead-letters": "cli.dead_letters",
    "draws": "cli.draws",
    "import": "cli.move_in",
    "keys": "cli.keys",
    "run": "cli.run",
    "serve": "cli.serve",
    "server": "cli.server",
    "setup": "cli.setup",
    "witnesses": "cli.witnesses",
}


class _LazyGroup(click.Group):
    """Commands by name: the function of that name in the module that `COMMANDS` gives."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_") + ("_" if iskeyword(cmd_name) else "")
        command = getattr(import_module(COMMANDS[cmd_name]), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (SettingsError, Locked) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_LazyGroup)
@click.version_option(version("drawbreak"))
def main() -> None:
    """Take bets, close draws, settle them: the drawbreak back end."""
    if asked := os.environ.get(DIE_WITH_PARENT):
        # "1": whoever started us. A process id: exactly that one, which may be gone by now.
        die_with_parent(parent_pid=None if asked == "1" else int(asked))


if __name__ == "__main__":
    main()
