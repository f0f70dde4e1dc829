"""What the library's jobs need, and how it is made."""

import os

from dependency_injector import containers, providers

from library import open_loans, open_postman


class Container(containers.DeclarativeContainer):
    """Resources are opened when the program starts, before the first job runs, and closed after the last one."""

    loans = providers.Resource(open_loans, path=os.environ.get("LIBRARY_DATABASE", "library.db"))
    postman = providers.Resource(open_postman, letters=os.environ.get("LIBRARY_LETTERS", "letters.txt"))
