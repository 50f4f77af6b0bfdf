"""Paid APIs for FastAPI and Starlette by the Machine Payments Protocol, settled on Stellar.

>>> from mpp_asgi import PaymentMiddleware, price
>>> app.add_middleware(PaymentMiddleware, network="sandbox")
"""

from mpp_asgi.config import ConfigError, Settings
from mpp_asgi.endpoints import price
from mpp_asgi.middleware import PaymentMiddleware
from mpp_asgi.payment import Payment
from mpp_asgi.pricing import Price, PriceError, Tariff, tariff
from mpp_asgi.stellar.network import Token

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "Payment",
    "PaymentMiddleware",
    "Price",
    "PriceError",
    "Settings",
    "Tariff",
    "Token",
    "price",
    "tariff",
]
