"""The networks and their tokens."""

import pytest
from stellar_sdk import Asset

from mpp_asgi.stellar.network import PUBNET, TESTNET, Network, UnknownNetworkError, network_named

ISSUERS = {
    TESTNET.name: "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5",
    PUBNET.name: "GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN",
}


@pytest.mark.parametrize("network", [TESTNET, PUBNET], ids=lambda network: network.name)
def test_token_addresses_follow_from_asset_and_passphrase(network: Network) -> None:
    usdc = Asset("USDC", ISSUERS[network.name])
    assert network.tokens["USDC"].address == usdc.contract_id(network.passphrase)
    assert network.tokens["XLM"].address == Asset.native().contract_id(network.passphrase)
    assert {token.decimals for token in network.tokens.values()} == {7}


def test_token_is_found_by_its_address() -> None:
    usdc = TESTNET.tokens["USDC"]
    assert TESTNET.token_at(usdc.address) is usdc
    assert PUBNET.token_at(usdc.address) is None


@pytest.mark.parametrize("network", [TESTNET, PUBNET], ids=lambda network: network.name)
def test_network_is_found_by_its_name(network: Network) -> None:
    assert network_named(network.name) is network


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("testnet", "stellar:testnet"),
        ("stellar:tesnet", "stellar:testnet"),
        ("PUBNET", "stellar:pubnet"),
        ("mainnet", "stellar:pubnet"),
        ("stellar:public", "stellar:pubnet"),
    ],
)
def test_unknown_name_is_answered_with_the_likely_one(name: str, meant: str) -> None:
    with pytest.raises(UnknownNetworkError, match=f"did you mean '{meant}'"):
        network_named(name)


def test_unlikely_name_is_answered_with_all_there_are() -> None:
    with pytest.raises(UnknownNetworkError, match="choose 'stellar:testnet' or 'stellar:pubnet'"):
        network_named("ethereum")


def test_only_testnet_has_an_rpc_for_everyone() -> None:
    assert TESTNET.rpc_url == "https://soroban-testnet.stellar.org"
    assert PUBNET.rpc_url is None
