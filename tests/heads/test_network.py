import pytest
import torch

from samtune.heads.network import DenseDecoder, Encoded
from samtune.types import Features


def features(encoded, count, grid, finer=()):
    main = torch.randn(count, encoded.channels, grid, grid)
    pairs = zip(encoded.details, finer, strict=True)
    return Features(main, tuple(torch.randn(count, c, side, side) for c, side in pairs))


@pytest.mark.parametrize(
    ("encoded", "grid", "finer"),
    [
        (Encoded(64, 8), 4, ()),
        (Encoded(64, 8, (4, 6)), 4, (16, 8)),
        (Encoded(56, 8, (4, 6)), 4, (16, 8)),  # tokens of 14 pixels
    ],
)
def test_maps_have_half_the_side_of_the_input(encoded, grid, finer):
    network = DenseDecoder(encoded, 3)
    pixels = torch.randn(2, 3, encoded.side, encoded.side)
    maps = network(pixels, features(encoded, 2, grid, finer))
    assert maps.shape == (2, 3, encoded.side // 2, encoded.side // 2)


def test_embeddings_details_and_pixels_all_matter():
    torch.manual_seed(0)
    encoded = Encoded(64, 8, (4, 6))
    network = DenseDecoder(encoded, 1).eval()
    pixels, seen = torch.randn(1, 3, 64, 64), features(encoded, 1, 4, (16, 8))
    answer = network(pixels, seen)
    others = [
        (torch.randn_like(pixels), seen),
        (pixels, Features(torch.randn_like(seen.main), seen.details)),
        (pixels, Features(seen.main, (torch.randn_like(seen.details[0]), seen.details[1]))),
        (pixels, Features(seen.main, (seen.details[0], torch.randn_like(seen.details[1])))),
    ]
    assert all(not torch.allclose(network(*other), answer) for other in others)


def test_an_answer_does_not_depend_on_the_batch():
    torch.manual_seed(0)
    encoded = Encoded(64, 8)
    network = DenseDecoder(encoded, 2).eval()
    pixels, seen = torch.randn(3, 3, 64, 64), features(encoded, 3, 4)
    together = network(pixels, seen)
    alone = network(pixels[1:2], seen[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-4)
