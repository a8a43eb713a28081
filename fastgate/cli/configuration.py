"""The CONFIG argument that commands share, and how the file behind it is found."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fastgate.config import GatewayConfig
    from fastgate.config.syntax.documents import Document

DEFAULT_FILE = "fastgate.toml"


def config_argument(function: Any) -> Any:
    """The optional argument CONFIG, given to the command as ``config: str | None``."""
    return click.argument("config", required=False, type=str)(function)


def import_from_here() -> None:
    """Lets plugins be modules in the current folder, after all that is installed: none of them hides another module."""
    if "" not in sys.path and not sys.flags.safe_path:
        sys.path.append("")


def find(path: str | None) -> Path:
    """The file that is meant. Raises `ConfigError`, which says how to make one, when there is none."""
    if path is not None:
        return Path(path)
    if Path(DEFAULT_FILE).exists():
        return Path(DEFAULT_FILE)
    from fastgate.config.errors import ConfigError, Problem

    message = f"{DEFAULT_FILE} not found in this folder; `fastgate init` makes one, `fastgate demo` needs none"
    raise ConfigError([Problem(path="", message=message)])


def load(path: str | None, *, allow_empty: bool = False) -> "GatewayConfig":
    """The configuration of CONFIG, with the files it names looked at. Raises `ConfigError`."""
    from fastgate.config.check.files import check_files
    from fastgate.config.errors import ConfigError
    from fastgate.config.read.load import locate

    config, document = read(path, allow_empty=allow_empty)
    missing = check_files(config)
    if missing:
        raise ConfigError(locate(document, missing))
    return config


def read(path: str | None, *, allow_empty: bool = False) -> "tuple[GatewayConfig, Document]":
    """The configuration of CONFIG and the parsed file, whose lines errors and warnings need. Raises `ConfigError`."""
    from fastgate.config import GatewayConfig
    from fastgate.config.read.load import load_document
    from fastgate.config.syntax.documents import read_document

    document = read_document(find(path), allow_empty=allow_empty)
    return load_document(GatewayConfig, document), document
