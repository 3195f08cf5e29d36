"""Detecting the processor's features."""

import pytest

from export.machine import int8_saturates

ZEN_3 = "processor\t: 0\nflags\t\t: fpu sse2 avx avx2 sha_ni\n"
ICE_LAKE = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
ALDER_LAKE = "processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd asimddp\n"


@pytest.mark.parametrize(
    ("cpuinfo", "saturates"),
    [(ZEN_3, True), (ICE_LAKE, False), (ALDER_LAKE, False), (GRAVITON, False)],
)
def test_8_bit_products_overflow_on_x86_without_vnni_alone(cpuinfo, saturates):
    assert int8_saturates(cpuinfo) == saturates
