"""nftables where there is none."""

from pathlib import Path

import pytest

from codeb.drivers.firewall.nftables import NftablesFirewall
from codeb.errors import Unavailable
from codeb.model.firewall import Gates

pytestmark = pytest.mark.anyio


async def test_without_nft_it_is_away(tmp_path: Path) -> None:
    firewall = NftablesFirewall(tmp_path / "firewall", Gates(22, ()), lambda: None, program=("/nonexistent/nft",))
    with pytest.raises(Unavailable):
        await firewall.look()
