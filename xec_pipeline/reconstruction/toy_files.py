"""Branches of the reconstruction in toy files, filled with the conventional one.

The light centre is the fitted point, the first interaction the calibrated position. 1e10 is left
where there is nothing: a light centre without a good fit, an event without light.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.geometry import geometry_by_name
from xec_pipeline.detector.solid_angle import solid_angle_fraction
from xec_pipeline.reconstruction.conventional import Values
from xec_pipeline.reconstruction.observables import Observer
from xec_pipeline.reconstruction.toy_constants import load_constants, observe_branches
from xec_pipeline.simulation.branches import Branches
from xec_pipeline.units import INVALID, MEV_PER_GEV, NS_PER_S, SPEED_OF_LIGHT_CM_PER_NS


class ToyReconstruction:
    """Reconstructs toy events as they are made; see `simulation.dataset.Reconstruction`.

    Parameters
    ----------
    geometry
        Name of the geometry that the events are made with.
    """

    def __init__(self, geometry: str) -> None:
        self._geometry = geometry_by_name(geometry)
        self._observer = Observer(self._geometry)
        self._conventional, origin = load_constants()
        self.record: dict[str, Any] = {"method": "conventional", "constants": origin}

    def __call__(self, branches: Branches) -> Branches:
        """Return the branches of the reconstruction of B events.

        Parameters
        ----------
        branches
            npho, relative_time, time_min_used and xyzVTX of the events.

        Returns
        -------
        dict
            xyzRecoFI, xyzRecoLC, uvwRecoFI, uvwRecoLC [cm], energyReco [GeV], timeReco [ns],
            solid_angle as seen from xyzRecoFI.

        Notes
        -----
        timeReco is the time of the first interaction minus the flight from xyzVTX, as in the files
        of the detector.
        """
        seen = observe_branches(self._observer, branches)
        predicted = self._conventional.predict(seen)
        first, centre = predicted["uvwFI"], np.where(seen.is_fitted[:, None], seen.point_cm, np.nan)
        xyz = uvw_to_xyz(first)
        way_cm = np.linalg.norm(xyz - branches["xyzVTX"], axis=1)
        start_ns = branches["time_min_used"].astype(np.float64) * NS_PER_S
        time_ns = start_ns + predicted["timing"][:, 0] - way_cm / SPEED_OF_LIGHT_CM_PER_NS
        omega = solid_angle_fraction(xyz, self._geometry)
        return {
            "xyzRecoFI": _branch(xyz),
            "xyzRecoLC": _branch(uvw_to_xyz(centre)),
            "uvwRecoFI": _branch(first),
            "uvwRecoLC": _branch(centre),
            "energyReco": _branch(predicted["energy"][:, 0] / MEV_PER_GEV),
            "timeReco": _branch(time_ns),
            "solid_angle": np.nan_to_num(omega, nan=0.0).astype(np.float32),
        }


def _branch(values: Values) -> NDArray[np.float32]:
    return np.where(np.isfinite(values), values, INVALID).astype(np.float32)
