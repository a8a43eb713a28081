"""The version of the package that runs."""


def installed_version() -> str:
    """As it is installed; "" where it is not."""
    from importlib.metadata import PackageNotFoundError, version  # on use: it takes 10 ms

    try:
        return version("fastgate")
    except PackageNotFoundError:
        return ""
