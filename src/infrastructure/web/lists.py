"""How every list is asked for and answered."""

from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items at most.", examples=[DEFAULT_LIMIT])]


class Page(BaseModel, Generic[T]):
    """Some items of a list."""

    items: list[T]
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` for the items that follow; null at the end of the list."
    )
