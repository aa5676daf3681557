"""Settings of a training, apart from torch and Lightning, so that help is printed without them."""

from dataclasses import dataclass, field
from typing import Literal

from samtune.data.settings import DataSettings
from samtune.errors import UserError
from samtune.models.settings import DecoderMode, LoraSettings, Mode, Quantization
from samtune.ranges import (
    Count,
    CountOrChoice,
    NotNegative,
    Positive,
    Share,
    ShareOrRecipe,
    WeightOrRecipe,
)

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16"]
# What is trained beside SAM; a test compares it with the table of heads
HeadName = Literal["none", "instances", "semantic", "classes"]
HeadEncoder = Literal["frozen", "lora"]


@dataclass(frozen=True)
class LossSettings:
    """Weights of the losses; what is `recipe` or -1 is taken from the prompt recipe.

    Attributes:
        pixel_loss: per pixel: focal; bce; or bce with object and background weighing alike.
        pixel: weight of the pixel loss.
        dice: weight of the Dice loss.
        iou: weight of the IoU head's loss.
        chosen: share of the mask loss that goes to the mask which the network itself thinks best; the
            rest goes to the best of three.
        general: weight of the loss on general (drawn) pictures, where the answers of the base are the
            target, so that what it could do is kept; for trainings of an adapter.
        iou_loss: of the IoU head: squared or absolute error.
        object: weight of the object score's cross-entropy (SAM 2, SAM 3): each prompt is for an object.
    """

    pixel_loss: Literal["recipe", "focal", "bce", "balanced_bce"] = "recipe"
    pixel: WeightOrRecipe = -1.0
    dice: WeightOrRecipe = -1.0
    iou: WeightOrRecipe = -1.0
    chosen: ShareOrRecipe = -1.0
    general: WeightOrRecipe = -1.0
    iou_loss: Literal["recipe", "mse", "l1"] = "recipe"
    object: NotNegative = 1.0


@dataclass(frozen=True)
class OptimSettings:
    """How weights are updated.

    Attributes:
        lr: peak learning rate of the decoder and of LoRA layers.
        weight_decay: AdamW's weight decay; biases, norms and other vectors have none.
        warmup_steps: over which the learning rate rises from 0 (at most a tenth of all steps).
        final_lr: share of `lr` that the cosine ends at.
        layer_decay: factor on the learning rate for each encoder block further from the output
            (SAM: 0.8).
        muon_lr: peak learning rate of Muon for the matrices of transformer blocks, such as 0.02; 0
            leaves them to AdamW. For networks that start from random weights.
        beta1: AdamW's first beta.
        beta2: AdamW's second beta.
    """

    lr: NotNegative = 1e-4
    weight_decay: NotNegative = 0.01
    warmup_steps: Count = 50
    final_lr: Share = 0.01
    layer_decay: Share = 1.0
    muon_lr: NotNegative = 0.0
    beta1: Share = 0.9
    beta2: Share = 0.999


@dataclass(frozen=True)
class ModelSettings:
    """What is trained, and how.

    Attributes:
        mode: `lora` as the settings below; `decoder` trains the mask decoder alone; `full` trains
            everything.
        lora: kind and place of the LoRA layers.
        decoder: in mode `lora`: `frozen`, `lora`, or `full` for all its weights, which forgets more.
        with_prompt_encoder: train the prompt encoder too.
        num_corrections: rounds of correction clicks; -1 takes the recipe's.
        with_encoder_warmup: first train the encoder alone, to predict at each place how far its
            object extends; for networks that start from random weights.
        head: `none` trains SAM itself; a head is trained beside a SAM, and answers without prompts:
            `instances` finds all objects, `semantic` gives every pixel a class, `classes` names the
            class of each mask.
        head_encoder: of the encoder that a head reads: `frozen` leaves it, and with it the answers to
            prompts, as it is; `lora` trains its LoRA layers (`lora`, at the rate `optim.lr`) by the
            head's loss, and tells at the end what became of the answers to prompts.
        head_lr: peak learning rate of a head by AdamW; its convolutions have six times that, by Muon.
        head_tile: side of the views in which a head looks at images, pixels; -1 chooses by the size of
            the objects, 0 is the whole image.
        loss: weights of the losses.
        optim: learning rate and schedule.
        quantize: the frozen encoder in `4bit` (QLoRA) or `8bit`, by bitsandbytes; in mode `lora`.
        with_checkpointing: compute activations again in the backward pass, to save memory.
        objects_per_chunk: objects that are decoded at once; 0 chooses for the device.

    Raises:
        UserError: settings do not go together.
    """

    mode: Mode = "lora"
    lora: LoraSettings = field(default_factory=LoraSettings)
    decoder: DecoderMode = "lora"
    with_prompt_encoder: bool = False
    num_corrections: CountOrChoice = -1
    with_encoder_warmup: bool = False
    head: HeadName = "none"
    head_encoder: HeadEncoder = "frozen"
    head_lr: NotNegative = 4e-3
    head_tile: CountOrChoice = -1
    loss: LossSettings = field(default_factory=LossSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    quantize: Quantization = "none"
    with_checkpointing: bool = False
    objects_per_chunk: Count = 0

    def __post_init__(self) -> None:
        if self.head_encoder != "frozen" and (self.head == "none" or self.mode != "lora"):
            raise UserError(
                f"model.head_encoder {self.head_encoder} trains a head together with LoRA in the "
                f"encoder: set model.head, and mode lora (found head {self.head}, mode {self.mode})"
            )
        if self.with_encoder_warmup and self.mode != "full":
            raise UserError("model.with_encoder_warmup trains the encoder: set model.mode full")
        if self.quantize != "none" and self.mode != "lora":
            raise UserError(
                f"model.quantize {self.quantize} is for a frozen encoder: set model.mode lora"
            )


@dataclass(frozen=True)
class TrainerSettings:
    """Lightning's Trainer: its arguments, under their names.

    Attributes:
        max_epochs: how often all training images are seen; -1 leaves it to `max_steps`.
        max_steps: steps of the optimizer at most; -1 leaves it to `max_epochs`.
        max_time: time at most, DD:HH:MM:SS; empty for no limit.
        accumulate_grad_batches: batches behind each step of the optimizer.
        check_val_every_n_epoch: epochs between validations; null counts batches instead
            (`val_check_interval`).
        val_check_interval: batches between validations, or a share of an epoch; null for its end.
        accelerator: cpu, gpu, mps, or auto.
        devices: how many processes on this machine, each with its own device; or their numbers, or
            auto.
        num_nodes: machines that train together.
        strategy: how processes share the work: auto, ddp.
        precision: 32-true, bf16-mixed or 16-mixed. The weights themselves stay in single precision:
            small steps would be lost in half of it.
        gradient_clip_val: the gradient's norm is cut down to this; null does not.
        log_every_n_steps: steps between rows of metrics.csv.
        deterministic: take only operations that give the same bits each time.
        benchmark: let cuDNN try which of its algorithms is fastest; null is Lightning's choice.
        limit_train_batches: batches of an epoch at most, or a share of them; null for all.
        limit_val_batches: the same of a validation.
        num_sanity_val_steps: batches of the validation before the first step, which measures the
            base; -1 for all.
        detect_anomaly: stop where a gradient becomes NaN (slow).
    """

    max_epochs: CountOrChoice = 20
    max_steps: CountOrChoice = -1
    max_time: str = ""
    accumulate_grad_batches: Positive = 1
    check_val_every_n_epoch: Positive | None = 1
    val_check_interval: Count | NotNegative | None = None
    accelerator: str = "auto"
    devices: int | str | list[int] = "auto"
    num_nodes: Positive = 1
    strategy: str = "auto"
    precision: Precision | None = None
    gradient_clip_val: NotNegative | None = 1.0
    log_every_n_steps: Positive = 5
    deterministic: bool = False
    benchmark: bool | None = None
    limit_train_batches: Count | NotNegative | None = None
    limit_val_batches: Count | NotNegative | None = None
    num_sanity_val_steps: CountOrChoice = -1
    detect_anomaly: bool = False


@dataclass(frozen=True)
class LoggingSettings:
    """Where metrics go besides metrics.csv.

    Attributes:
        wandb: Weights & Biases; `auto` is online where you are logged in, else offline. It never asks.
        wandb_project: W&B project.
        wandb_entity: W&B team or user; empty for your default.
        with_tensorboard: write TensorBoard event files into the run folder.
        panels: images with prompts, truth and prediction that each validation logs to W&B.
    """

    wandb: Literal["off", "auto", "online", "offline"] = "off"
    wandb_project: str = "samtune"
    wandb_entity: str = ""
    with_tensorboard: bool = False
    panels: int = 4


@dataclass(frozen=True)
class FitSettings:
    """All that a training depends on: what config.yaml of a run holds.

    Attributes:
        base: what to start from: registry name, hub id, transformers folder, official `.pth`, or a
            run, to tune on from its result.
        checkpoint: official weights for a registry name, instead of a download.
        image_size: side of the square input; 0 keeps the model's own (1024, `nano` 256).
        start: a run on that base, from whose weights training goes on; empty begins anew.
        run: folder of the run.
        budget: time for the training with its validations and the choice at the end, such as 90s, 5m or
            2h, or its number of steps, such as 700 steps; empty leaves the length to
            trainer.max_epochs and the like.
        seed: of everything that is drawn, unless `data.seed` says otherwise.
        early_stopping: validations without improvement after which training stops; 0 never.
        checkpoint_steps: write checkpoints/last.ckpt every so many steps too, not only after each
            validation and epoch.
        auto: make the steps fit the free memory (fewer objects or images at once, checkpointing);
            data.batch_size stays the number of images behind each step of the optimizer.
        check: look at some of the data first; stop where they would spoil the result.
        choose: at the end compare the last and the best weights, at several strengths, with the
            base on the validation images, and keep what helps; false keeps the best by validation
            mIoU.
        sharpen: after the choice train a small network that draws the edges of masks by the pixels,
            or of the objects that a head for instances finds, and keep it where it helps the
            validation images; takes four tenths of a budget of time (of a minute or more), for a
            head three twentieths (of ten minutes or more).
        data: images and masks.
        model: what is trained, and how.
        trainer: Lightning's Trainer.
        logging: where metrics go besides metrics.csv.
    """

    base: str = "vit_b"
    checkpoint: str = ""
    image_size: Count = 0
    start: str = ""
    run: str = ""
    budget: str = ""
    seed: int = 0
    early_stopping: Count = 0
    checkpoint_steps: Count = 0
    auto: bool = False
    check: bool = True
    choose: bool = True
    sharpen: bool = True
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
