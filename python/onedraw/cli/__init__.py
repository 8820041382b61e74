"""The commands of `onedraw`; the only part of the package that needs typer."""
