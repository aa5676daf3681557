"""QLoRA: the frozen encoder in few bits, the adapter and the decoder as always."""

import pytest
import torch

from samtune.errors import UserError
from samtune.models.loading import load_model
from samtune.models.saving import save_tuned
from samtune.models.settings import LoraSettings
from samtune.training.module import SamTuner
from samtune.training.settings import ModelSettings


def tuner(quantize, **settings):
    chosen = ModelSettings(lora=LoraSettings(rank=2), quantize=quantize, **settings)
    made = SamTuner("nano", chosen, image_size=64)
    made.configure_model()
    return made


def test_without_bitsandbytes_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("samtune.models.quantize.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'samtune\[quantized\]'"):
        tuner("4bit")


@pytest.mark.parametrize("mode", ["full", "decoder"])
def test_only_a_frozen_encoder_with_lora_is_quantized(mode):
    with pytest.raises(UserError, match=r"set model\.mode lora"):
        tuner("8bit", mode=mode)


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
class TestWithBitsandbytes:
    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("bitsandbytes")

    @pytest.fixture
    def pixels(self):
        return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def test_embeddings_stay_near_and_the_weights_become_small(self, bits, pixels):
        plain, small = tuner("none").network.eval(), tuner(bits).network.eval()
        with torch.no_grad():
            exact, found = plain.encode(pixels).main, small.encode(pixels).main
        assert (found - exact).norm() < 0.4 * exact.norm()
        assert not torch.equal(found, exact)

        def size(sam):
            blocks = sam.core.vision_encoder.layers
            return sum(p.numel() * p.element_size() for p in blocks.parameters())

        assert size(small) < 0.45 * size(plain)

    def test_exactly_the_adapter_and_the_decoder_are_trained(self, bits, pixels):
        made = tuner(bits)
        made.network.encode(pixels).main.square().mean().backward()
        names = [n for n, p in made.named_parameters() if p.grad is not None]
        assert names
        assert all(".lora_" in name for name in names)
        trained = [n for n, p in made.named_parameters() if p.requires_grad]
        assert all(".lora_" in name or "mask_decoder" in name for name in trained)

    def test_training_goes_on_after_a_validation(self, bits, pixels):
        made = tuner(bits)
        for _ in range(2):
            with torch.no_grad():
                made.network.eval().encode(pixels)
            made.network.train().encode(pixels).main.square().mean().backward()

    def test_the_adapter_fits_the_base_in_full_precision(self, bits, tmp_path, pixels):
        made = tuner(bits)
        save_tuned(made.network, tmp_path)
        loaded = load_model(tmp_path)
        assert type(loaded.core.vision_encoder.layers[0].mlp.lin1) is torch.nn.Linear
        with torch.no_grad():
            assert torch.isfinite(loaded.encode(pixels).main).all()
