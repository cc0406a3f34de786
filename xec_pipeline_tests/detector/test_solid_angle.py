"""Solid angles against closed forms, quadrature, random rays and published numbers."""

import itertools

import numpy as np
import pytest
from scipy.special import ellipk

from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.geometry import (
    Geometry,
    aligned_geometry,
    geometry_from_arrays,
    ideal_geometry,
)
from xec_pipeline.detector.sensors import (
    N_SENSORS,
    N_SIPM,
    PMT_AREA_CM2,
    PMT_RADIUS_CM,
    SIPM_AREA_CM2,
    SIPM_CHIP_CM,
    SIPM_GAP_CM,
)
from xec_pipeline.detector.solid_angle import (
    FOUR_PI,
    SIPM_SECOND_MOMENT_CM2,
    disk_fraction,
    far_field_fraction,
    far_field_fraction_and_gradient,
    rectangles_fraction,
    sipm_fraction,
    sipm_fraction_and_gradient,
    solid_angle_fraction,
)

OLD_PMT_RADIUS_CM = 3.81
"""Photocathode radius of an earlier system, in which the published numbers were made."""


def one(value: float) -> np.ndarray:
    return np.array([value])


def points_in_xenon(count: int, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return uvw_to_xyz(rng.uniform([-23.9, -67.9, 0.05], [23.9, 67.9, 38.0], size=(count, 3)))


def exact_everywhere(points: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the exact forms for all pairs, whatever the distance."""
    offset = points[:, None] - geometry.position_cm
    height = np.einsum("psj,sj->ps", offset, geometry.normal)
    u = np.einsum("psj,sj->ps", offset, geometry.axis_u)
    v = np.einsum("psj,sj->ps", offset, geometry.axis_v)
    fraction = np.empty(height.shape)
    for row in range(len(points)):
        low, high = slice(None, N_SIPM), slice(N_SIPM, None)
        fraction[row, low] = sipm_fraction(u[row, low], v[row, low], height[row, low])
        fraction[row, high] = disk_fraction(np.hypot(u, v)[row, high], height[row, high])
    return fraction


def disk_by_quadrature(radial: float, height: float, radius: float) -> float:
    """Return the integral of h / (4 pi d^3) over the disk: Gauss in r, trapezoid in the angle."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    r = 0.5 * radius * (nodes + 1)
    angle = 2 * np.pi * np.arange(400) / 400
    distance_sq = r[:, None] ** 2 + radial**2 - 2 * radial * r[:, None] * np.cos(angle) + height**2
    ring = (height / distance_sq**1.5).mean(axis=1) * 2 * np.pi * r
    return float(np.sum(0.5 * radius * weights * ring) / FOUR_PI)


def hit_fraction(point: np.ndarray, sensor: int, geometry: Geometry, n_rays: int) -> float:
    """Return the fraction of isotropic rays from `point` that hit the sensor's window.

    Rays are drawn in a cone that contains the window; directions are uniform in the cone.
    """
    rng = np.random.default_rng(sensor)
    to_sensor = geometry.position_cm[sensor] - point
    distance = float(np.linalg.norm(to_sensor))
    edge = 0.88 if sensor < N_SIPM else PMT_RADIUS_CM
    cos_min = np.cos(np.arcsin(min(edge / distance, 1.0)))
    axis = to_sensor / distance
    side = np.cross(axis, [0.3, -0.5, 0.8])
    side /= np.linalg.norm(side)
    cosine, turn = rng.uniform(cos_min, 1, n_rays), rng.uniform(0, 2 * np.pi, n_rays)
    sine = np.sqrt(1 - cosine**2)
    rays = (
        cosine[:, None] * axis
        + (sine * np.cos(turn))[:, None] * side
        + (sine * np.sin(turn))[:, None] * np.cross(axis, side)
    )
    normal = geometry.normal[sensor]
    along = (to_sensor @ normal) / (rays @ normal)
    place = rays * along[:, None] - to_sensor
    u, v = np.abs(place @ geometry.axis_u[sensor]), np.abs(place @ geometry.axis_v[sensor])
    low, high = SIPM_GAP_CM / 2, SIPM_GAP_CM / 2 + SIPM_CHIP_CM
    on_chip = (u > low) & (u < high) & (v > low) & (v < high)
    hit = on_chip if sensor < N_SIPM else np.hypot(u, v) < PMT_RADIUS_CM
    return float(np.mean(hit & (along > 0)) * (1 - cos_min) / 2)


class TestRectangle:
    def test_side_of_a_cube_seen_from_its_centre(self):
        edges = [-0.615, 0.615]
        fraction = rectangles_fraction(
            one(0), one(0), one(0.615), u_edges_cm=edges, v_edges_cm=edges
        )
        assert fraction[0] == pytest.approx(1 / 6, rel=1e-14)

    @pytest.mark.parametrize("point", [(0, 0, 0), (1.9, -2.8, 3.7), (-1.999, 2.5, -3.0)])
    def test_walls_of_a_closed_box_add_to_one(self, point):
        half = np.array([2.0, 3.0, 4.0])
        total = 0.0
        for axis, sign in itertools.product(range(3), (-1, 1)):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            total += rectangles_fraction(
                one(point[first]),
                one(point[second]),
                one(half[axis] - sign * point[axis]),
                u_edges_cm=[-half[first], half[first]],
                v_edges_cm=[-half[second], half[second]],
            )[0]
        assert total == pytest.approx(1, abs=1e-14)

    def test_two_halves_are_the_whole(self):
        whole = rectangles_fraction(
            one(0.3), one(-2), one(1.5), u_edges_cm=[-1, 2], v_edges_cm=[0, 1]
        )
        halves = rectangles_fraction(
            one(0.3), one(-2), one(1.5), u_edges_cm=[-1, 0.5, 0.5, 2], v_edges_cm=[0, 1]
        )
        assert halves == pytest.approx(whole, rel=1e-13)

    @pytest.mark.golden
    def test_published_sipm(self):
        assert sipm_fraction(one(1), one(2), one(5))[0] == pytest.approx(0.00334585, abs=5e-9)

    def test_gap_is_missing_from_a_sipm(self):
        edges = [-0.615, 0.615]
        full = rectangles_fraction(one(0), one(0), one(0.2), u_edges_cm=edges, v_edges_cm=edges)
        assert sipm_fraction(one(0), one(0), one(0.2)) < full

    def test_touching_the_gap_sees_nothing_at_the_end(self):
        heights = np.array([1e-2, 1e-4, 1e-6])
        fraction = sipm_fraction(np.zeros(3), np.zeros(3), heights)
        assert (np.diff(fraction) < 0).all()
        assert fraction[-1] < 1e-4

    def test_touching_a_chip_sees_half_of_everything(self):
        assert sipm_fraction(one(0.3), one(0.3), one(1e-9))[0] == pytest.approx(0.5)

    @pytest.mark.parametrize("height", [0.0, -1e-12, -3.0])
    def test_behind_is_exactly_zero(self, height):
        assert sipm_fraction(one(0.3), one(0.3), one(height))[0] == 0.0


class TestDisk:
    @pytest.mark.parametrize("height", [1e-3, 0.1, 1.0, 5.0, 20.0, 500.0])
    def test_on_the_axis(self, height):
        # 1 - h/sqrt(h^2 + r^2) without the cancellation at large distance
        hypotenuse = np.hypot(height, PMT_RADIUS_CM)
        expected = PMT_RADIUS_CM**2 / (2 * hypotenuse * (hypotenuse + height))
        assert disk_fraction(one(0), one(height))[0] == pytest.approx(expected, abs=1e-15)

    @pytest.mark.golden
    @pytest.mark.parametrize(
        ("radial", "height", "expected"),
        [
            (0, 1, 0.37306578),
            (0, 5, 0.10230240),
            (0, 20, 0.00883287),
            (2, 3, 0.16613205),
            (3.81, 3, 0.10770638),
            (6, 2, 0.04142553),
        ],
    )
    def test_published_numbers(self, radial, height, expected):
        fraction = disk_fraction(one(radial), one(height), OLD_PMT_RADIUS_CM)
        assert fraction[0] == pytest.approx(expected, abs=6e-9)

    @pytest.mark.parametrize(
        ("radial", "height"), [(0.5, 1), (2, 0.5), (2.25, 0.7), (2.3, 0.6), (4, 1), (15, 0.3)]
    )
    def test_against_quadrature(self, radial, height):
        expected = disk_by_quadrature(radial, height, PMT_RADIUS_CM)
        assert disk_fraction(one(radial), one(height))[0] == pytest.approx(expected, rel=1e-7)

    def test_no_hole_around_the_rim(self):
        """The earlier system returned 0 at 0.999 of the radius; the value must be continuous."""
        steps = np.concatenate([-np.logspace(-3, -16, 60), [0.0], np.logspace(-16, -3, 60)])
        fraction = disk_fraction(PMT_RADIUS_CM * (1 + steps), np.full(121, 1.0))
        assert (np.diff(fraction) < 1e-9).all()
        assert np.ptp(fraction) < 1e-3
        rim = 0.25 - 2 / np.hypot(1, 4.5) * ellipk(1 - 1 / (1 + 4.5**2)) / FOUR_PI
        assert fraction[60] == pytest.approx(rim, rel=1e-12)

    def test_at_the_surface(self):
        radial = np.array([0, 1, 2.2, 2.25, 2.3, 9])
        fraction = disk_fraction(radial, np.full(6, 1e-12))
        assert fraction == pytest.approx([0.5, 0.5, 0.5, 0.25, 0, 0], abs=1e-9)

    @pytest.mark.parametrize("height", [0.0, -1e-12, -5.0])
    @pytest.mark.parametrize("radial", [0.0, 2.25, 7.0])
    def test_behind_is_exactly_zero(self, radial, height):
        assert disk_fraction(one(radial), one(height))[0] == 0.0


class TestFarField:
    def test_leading_term(self):
        fraction = far_field_fraction(one(1e8), one(6e3), area_cm2=2.0, second_moment_cm2=0.1)
        assert fraction[0] == pytest.approx(2 * 6e3 / (FOUR_PI * 1e12), rel=1e-7)

    def test_moments_of_the_sipm(self):
        assert pytest.approx(0.131408, abs=1e-6) == SIPM_SECOND_MOMENT_CM2

    @pytest.mark.parametrize(("distance", "limit"), [(6, 6e-3), (10, 8e-4), (20, 1e-4)])
    def test_error_at_sixty_degrees_from_a_disk(self, distance, limit):
        height, radial = distance * 0.5, distance * np.sqrt(0.75)
        far = far_field_fraction(
            one(distance**2),
            one(height),
            area_cm2=PMT_AREA_CM2,
            second_moment_cm2=PMT_RADIUS_CM**2 / 4,
        )
        exact = disk_fraction(one(radial), one(height))
        assert abs(far[0] / exact[0] - 1) < limit

    def test_behind_is_exactly_zero(self):
        fraction = far_field_fraction(
            one(100.0), one(-3.0), area_cm2=SIPM_AREA_CM2, second_moment_cm2=0.1
        )
        assert fraction[0] == 0.0


class TestAllSensors:
    @pytest.mark.parametrize(
        "geometry", [ideal_geometry(), aligned_geometry()], ids=["ideal", "al"]
    )
    def test_agrees_with_the_exact_forms(self, geometry):
        points = points_in_xenon(12)
        exact = exact_everywhere(points, geometry)
        fast = solid_angle_fraction(points, geometry)
        assert fast.shape == (12, N_SENSORS)
        assert fast.dtype == np.float64
        assert np.array_equal(fast == 0, exact == 0)
        # Far away the exact form of a SiPM is a small difference of large numbers.
        assert fast == pytest.approx(exact, rel=1.2e-4, abs=1e-13)

    @pytest.mark.parametrize(
        "sensor", [2046, 2100, 3000, 4100, 4185, 4310, 4449, 4455, 4600, 4740, 4750]
    )
    def test_agrees_with_random_rays(self, sensor):
        geometry = aligned_geometry()
        # In front of the sensor, well to the side: the window is seen tilted.
        direction = geometry.normal[sensor] + 0.9 * geometry.axis_u[sensor]
        direction = direction - 0.4 * geometry.axis_v[sensor]
        point = geometry.position_cm[sensor] + (2.0 if sensor < N_SIPM else 6.0) * direction
        expected = solid_angle_fraction(point[None], geometry)[0, sensor]
        drawn = hit_fraction(point, sensor, geometry, n_rays=200_000)
        assert drawn == pytest.approx(expected, rel=0.012)

    def test_sum_stays_below_the_sphere(self):
        total = solid_angle_fraction(points_in_xenon(50), ideal_geometry()).sum(axis=1)
        assert (total > 0.2).all()
        assert (total < 1).all()

    def test_symmetric_points_see_symmetric_light(self):
        point = uvw_to_xyz([[5.0, 20.0, 4.0], [-5.0, 20.0, 4.0], [5.0, -20.0, 4.0]])
        direct, z_flip, y_flip = solid_angle_fraction(point, ideal_geometry())
        inner = np.arange(N_SIPM).reshape(93, 44)
        assert z_flip[inner[:, ::-1]] == pytest.approx(direct[inner], rel=1e-9, abs=1e-15)
        assert y_flip[inner[::-1]] == pytest.approx(direct[inner], rel=1e-9, abs=1e-15)

    def test_chunks_do_not_show(self):
        points = points_in_xenon(150)
        together = solid_angle_fraction(points, ideal_geometry())
        for row in (0, 63, 64, 127, 128, 149):
            alone = solid_angle_fraction(points[row : row + 1], ideal_geometry())[0]
            assert together[row] == pytest.approx(alone, rel=1e-9, abs=1e-15)

    def test_point_on_a_sensor_is_finite(self):
        points = ideal_geometry().position_cm[[0, 2046, 4100, 4310, 4600]]
        nearly = points + 1e-9 * ideal_geometry().normal[[0, 2046, 4100, 4310, 4600]]
        for touching in (points, nearly):
            fraction = solid_angle_fraction(touching, ideal_geometry())
            assert np.isfinite(fraction).all()
            assert (fraction >= 0).all()
            assert fraction.max() <= 0.5

    @pytest.mark.parametrize("bad", [1e10, np.nan, np.inf, -1000.0])
    def test_failed_reconstruction_gives_nan_and_spares_the_others(self, bad):
        points = points_in_xenon(3)
        expected = solid_angle_fraction(points[[0, 2]], ideal_geometry())
        points[1, 2] = bad
        fraction = solid_angle_fraction(points, ideal_geometry())
        assert np.isnan(fraction[1]).all()
        assert fraction[[0, 2]] == pytest.approx(expected, rel=1e-9, abs=1e-15)

    @pytest.mark.golden
    def test_corner_of_the_inner_face_looks_away_from_its_middle(self):
        seen = solid_angle_fraction(uvw_to_xyz([[0, 0, 1]]), ideal_geometry())[0]
        assert seen[0] == 0.0

    def test_no_points(self):
        assert solid_angle_fraction(np.empty((0, 3)), ideal_geometry()).shape == (0, N_SENSORS)

    @pytest.mark.parametrize("shape", [(3,), (4, 2), (2, 2, 3)])
    def test_wrong_shape_is_an_error(self, shape):
        with pytest.raises(ValueError, match=r"must have shape \(P, 3\), got"):
            solid_angle_fraction(np.zeros(shape), ideal_geometry())


class TestGradient:
    """Of the four chips, by foot and height."""

    def points(self):
        rng = np.random.default_rng(8)
        return np.stack([*rng.normal(0, 2, (2, 500)), rng.uniform(0.02, 6, 500)])

    def test_fraction_is_that_of_the_chips(self):
        fraction, _ = sipm_fraction_and_gradient(*self.points())
        np.testing.assert_allclose(fraction, sipm_fraction(*self.points()), atol=1e-15)

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_derivatives_against_differences(self, axis):
        step = np.zeros((3, 1))
        step[axis] = 1e-5
        above, below = (sipm_fraction(*(self.points() + sign * step)) for sign in (1, -1))
        _, gradient = sipm_fraction_and_gradient(*self.points())
        np.testing.assert_allclose(gradient[axis], (above - below) / 2e-5, rtol=1e-4, atol=1e-7)

    def test_nothing_behind_the_sensor_and_any_shape(self):
        u, v, height = self.points().reshape(3, 50, 10)
        fraction, gradient = sipm_fraction_and_gradient(u, v, np.where(u > 0, height, -height))
        assert (fraction.shape, gradient.shape) == ((50, 10), (3, 50, 10))
        assert np.array_equal(fraction > 0, u > 0)
        assert not gradient[:, u <= 0].any()


# Point (u, v, w), its brightest sensor, that one's fraction, the inner sum.
PUBLISHED = [
    ((0, 0, 1), 2046, 0.03555369, 0.256526),
    ((0, 0, 5), 2046, 0.00350928, 0.217144),
    ((0, 0, 20), 4195, 0.00763470, 0.130647),
    ((10, -30, 3), 2888, 0.00853579, 0.235878),
]


@pytest.mark.golden
@pytest.mark.parametrize(("uvw", "brightest", "largest", "inner_sum"), PUBLISHED)
def test_published_views_with_the_surveyed_table(tables, uvw, brightest, largest, inner_sum):
    surveyed = geometry_from_arrays("survey", tables.surveyed_cm, tables.surveyed_normal)
    seen = solid_angle_fraction(uvw_to_xyz([uvw]), surveyed, pmt_radius_cm=OLD_PMT_RADIUS_CM)[0]
    assert seen.argmax() == brightest
    assert seen[brightest] == pytest.approx(largest, rel=2e-6)
    assert seen[:N_SIPM].sum() == pytest.approx(inner_sum, abs=2e-6)


@pytest.mark.golden
@pytest.mark.parametrize(("uvw", "brightest", "largest", "inner_sum"), PUBLISHED)
def test_published_views_with_the_closed_form(uvw, brightest, largest, inner_sum):
    """A third of a millimetre matters at 1 cm: half a per cent."""
    points = uvw_to_xyz([uvw])
    seen = solid_angle_fraction(points, aligned_geometry(), pmt_radius_cm=OLD_PMT_RADIUS_CM)[0]
    assert seen.argmax() == brightest
    assert seen[brightest] == pytest.approx(largest, rel=6e-3)
    assert seen[:N_SIPM].sum() == pytest.approx(inner_sum, rel=1e-4)


@pytest.mark.golden
def test_published_outer_sum():
    points = uvw_to_xyz([[0, 0, 20]])
    seen = solid_angle_fraction(points, aligned_geometry(), pmt_radius_cm=OLD_PMT_RADIUS_CM)[0]
    assert seen[4092:4308].sum() + seen[4742:].sum() == pytest.approx(0.306732, abs=5e-6)


def test_gradient_of_the_far_field_is_that_of_its_value():
    rng = np.random.default_rng(6)
    height = rng.uniform(-5, 30, 200)
    distance_sq = height**2 + rng.uniform(1, 900, 200)
    window = {"area_cm2": 15.9, "second_moment_cm2": 1.27}
    value, gradient = far_field_fraction_and_gradient(distance_sq, height, **window)
    np.testing.assert_array_equal(value, far_field_fraction(distance_sq, height, **window))
    front = height > 0.01
    for k, shift in enumerate(np.eye(2) * 1e-5):
        moved = [
            far_field_fraction(distance_sq + sign * shift[0], height + sign * shift[1], **window)
            for sign in (1, -1)
        ]
        numeric = (moved[0] - moved[1]) / 2e-5
        np.testing.assert_allclose(gradient[k][front], numeric[front], rtol=1e-5, atol=1e-10)
    assert not gradient[:, height < 0].any()
