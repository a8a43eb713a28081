"""The outermost table with the doors to it: from a dict, from a file."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

from fastgate.config.schema.root import Root


class GatewayConfig(Root, frozen=True, kw_only=True):
    """A whole configuration."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, environ: Mapping[str, str] | None = None) -> "GatewayConfig":
        """The configuration that a plain dict describes. ``environ`` is used for references, default ``os.environ``.

        Raises `ConfigError` with every problem at once.
        """
        from fastgate.config.read.load import load_dict

        return load_dict(cls, data, environ)

    @classmethod
    def from_file(
        cls, path: str | PathLike[str], *, environ: Mapping[str, str] | None = None, allow_empty: bool = False
    ) -> "GatewayConfig":
        """The configuration in a TOML, JSON or YAML file, by its suffix. Relative paths in it start at its folder.

        Raises `ConfigError` with every problem at once, each with its line; also for a file without any table, unless
        ``allow_empty`` says that it is meant.
        """
        from fastgate.config.read.load import load_file

        return load_file(cls, path, environ, allow_empty=allow_empty)
