"""A chain, and a node that follows it."""

import pytest

from tests.stellar.chain import Chain, Node


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def node(chain: Chain) -> Node:
    return Node(chain)
