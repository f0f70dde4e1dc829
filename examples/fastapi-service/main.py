"""The shop's application: ``uvicorn main:app``."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel

from application.scheduling import BackgroundTasksBus, RecurrentTaskDescriptor, ScheduledTaskDescriptor
from container import Container
from infrastructure.embedding import Roundsman
from shop import Orders, Shop


class Order(BaseModel):
    """What a customer wants."""

    item: str


def create_app(settings: Mapping[str, Any] | None = None, database: str | None = None) -> FastAPI:
    """Make the application; nothing is opened until its lifespan begins."""
    container = Container()
    container.config.database.from_value(database or os.environ.get("SHOP_DATABASE", "shop.db"))
    roundsman = Roundsman(modules=["jobs"], containers=[container], settings=settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        container.orders().create_tables()
        every_s = float(os.environ.get("SHOP_COUNT_EVERY_S", "60"))
        async with roundsman:
            count = RecurrentTaskDescriptor(id="count-orders", name="CountOrders", interval=every_s)
            await roundsman.bus().schedule_task(count)  # the same again, from each worker, changes nothing
            yield

    app = FastAPI(title="Shop", lifespan=lifespan)
    app.mount("/jobs", roundsman.api)
    add_endpoints(app, container, roundsman)
    return app


def add_endpoints(app: FastAPI, container: Container, roundsman: Roundsman) -> None:
    """Add the shop's own endpoints."""

    def get_shop() -> Shop:
        return container.shop()

    def get_orders() -> Orders:
        return container.orders()

    @app.post("/orders", status_code=202)
    def take_order(order: Order, shop: Annotated[Shop, Depends(get_shop)]) -> dict[str, int]:
        return {"order": shop.order(order.item)}

    @app.get("/orders/{order}")
    def show_order(order: int, orders: Annotated[Orders, Depends(get_orders)]) -> dict[str, int]:
        receipts = orders.receipts(order)
        if receipts is None:
            raise HTTPException(404, "there is no such order")
        return {"order": order, "receipts": receipts}

    @app.post("/orders/{order}/receipt", status_code=202)
    async def send_again(order: int, bus: Annotated[BackgroundTasksBus, Depends(roundsman.bus)]) -> dict[str, str]:
        task = ScheduledTaskDescriptor(name="SendReceipt", data={"order": order})
        await bus.schedule_task(task)
        return {"job": task.id}


app = create_app()
