"""Internal units and the factors that lead to them.

One internal unit per quantity: energy MeV, length cm, time ns, angle degree, light photons.
A number that leaves its type carries the unit in its name: `energy_mev`, `time_ns`, `position_cm`,
`angle_deg`. Contract files keep their own units (CSV energy GeV, CSV time s).
"""

from typing import Final

MEV_PER_GEV: Final = 1e3
NS_PER_S: Final = 1e9
PS_PER_NS: Final = 1e3
MM_PER_CM: Final = 10.0
SPEED_OF_LIGHT_CM_PER_NS: Final = 29.9792458
SIGNAL_ENERGY_MEV: Final = 52.83
"""Photon energy of the two-body decay mu -> e gamma: half the muon mass."""
INVALID: Final = 1e10
"""Written into any float branch for "not measured" or "dead"."""
INVALID_ABOVE: Final = 9e9
"""A reader treats |x| above this, NaN and infinity as not measured."""
