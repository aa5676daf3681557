import pytest
import torch

from samtune.models.chunking import cut_objects


def cuts(counts, size, few=1):
    """(start, stop, image) of every chunk of images with so many objects each."""
    index = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    chunks = cut_objects(index, len(counts), size, few)
    return [(part.start, part.stop, image) for part, image in chunks]


def test_an_image_with_many_objects_has_its_own_chunks():
    assert cuts([5, 3], 4) == [(0, 4, 0), (4, 5, 0), (5, 8, 1)]


def test_objects_that_are_alone_are_decoded_together():
    assert cuts([1, 1, 3, 1], 8) == [(0, 2, None), (2, 5, 2), (5, 6, None)]


def test_objects_that_are_few_are_decoded_together():
    assert cuts([3, 2, 5, 1], 8, few=3) == [(0, 5, None), (5, 10, 2), (10, 11, None)]


def test_one_image_shares_its_work_however_few_its_objects_are():
    assert cuts([2], 8, few=4) == [(0, 2, 0)]


@pytest.mark.parametrize("few", [1, 2, 4])
@pytest.mark.parametrize("size", [4, 5, 9])
def test_every_object_is_in_one_chunk_of_at_most_so_many(few, size):
    generator = torch.Generator().manual_seed(size)
    counts = torch.randint(1, 12, (9,), generator=generator).tolist()
    found = cuts(counts, size, few)
    assert [number for start, stop, _ in found for number in range(start, stop)] == list(
        range(sum(counts))
    )
    assert max(stop - start for start, stop, _ in found) <= size
