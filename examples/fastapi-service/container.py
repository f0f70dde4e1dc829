"""What the shop is made of. Endpoints and jobs use the same container."""

from dependency_injector import containers, providers

from application.scheduling import BackgroundTasksBus
from shop import Orders, Shop


class Container(containers.DeclarativeContainer):
    """The bus is given by Roundsman while it runs: it fills each ``Dependency`` that waits for one."""

    config = providers.Configuration()
    orders = providers.Singleton(Orders, path=config.database)
    bus = providers.Dependency(instance_of=BackgroundTasksBus)
    shop = providers.Factory(Shop, orders=orders, bus=bus)
