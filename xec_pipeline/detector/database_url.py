"""The URL of a database: parsed, opened, and shown without secrets."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from xec_pipeline.errors import ConfigError

_CONNECT_SECONDS: Final = 10
_SHOWN_OPTIONS: Final = ("host", "port", "service")
"""Parts of a URL's query that messages may show; a password may stand in others."""


def shown_url(url: URL) -> str:
    """Return a URL as messages and files may show it: without user, password and secret options."""
    query = {name: value for name, value in url.query.items() if name in _SHOWN_OPTIONS}
    bare = URL.create(url.drivername, None, None, url.host, url.port, url.database, query)
    return bare.render_as_string(hide_password=True)


def parse_url(url: str) -> URL:
    """Parse `dialect+driver://user:password@host:port/name`.

    Raises
    ------
    ConfigError
        If this is no URL; the message does not repeat it.
    """
    try:
        return sa.make_url(url)
    except (ArgumentError, ValueError):
        # Neither the text nor the error is shown: a password may stand in both.
        raise ConfigError(
            "the URL of the database cannot be parsed (not shown, it may hold a password); "
            "expected dialect+driver://user:password@host:port/name, special characters of the "
            "password as %XX"
        ) from None


def open_engine(url: URL, name: str) -> sa.Engine:
    """Return an engine that keeps no connection open.

    Raises
    ------
    ConfigError
        If the dialect is unknown or its driver is not installed; the message begins with `name`.
    """
    is_server = url.get_backend_name() in {"mysql", "mariadb", "postgresql"}
    options = {"connect_timeout": _CONNECT_SECONDS} if is_server else {}
    try:
        return sa.create_engine(url, poolclass=NullPool, connect_args=options)
    except NoSuchModuleError:
        raise ConfigError(
            f"{name}: SQLAlchemy knows no database '{url.drivername}'; expected for example "
            "mysql+pymysql, postgresql+psycopg or sqlite"
        ) from None
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{name}: the driver '{error.name}' is not installed: pip install {error.name}"
        ) from None
