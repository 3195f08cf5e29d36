"""D-FINE like ustc-community/dfine-small-coco, and a tiny one."""

from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

from export.stand_ins.base import Build, StandIn
from export.stand_ins.rt_detr import SETTLED_ON, TINY_SIZE, settled, tiny_config


def _tiny() -> StandIn:
    backbone = HGNetV2Config(
        hidden_sizes=[8, 12, 16, 20],
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 12, 16],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 12, 16, 20],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[2, 2, 2, 2],
        use_learnable_affine_block=True,
        out_indices=[2, 3, 4],
    )
    more = {"hidden_expansion": 0.5, "max_num_bins": 8, "lqe_hidden_dim": 16, "depth_mult": 0.34}
    config = tiny_config(DFineConfig, backbone_config=backbone, **more)
    processor = RTDetrImageProcessorPil(size=TINY_SIZE)
    return settled(DFineForObjectDetection, config, processor, SETTLED_ON)


def _real() -> StandIn:
    backbone = HGNetV2Config(
        depths=[1, 1, 2, 1],
        hidden_sizes=[64, 256, 512, 1024],
        stem_channels=[3, 16, 16],
        stage_in_channels=[16, 64, 256, 512],
        stage_mid_channels=[16, 32, 64, 128],
        stage_out_channels=[64, 256, 512, 1024],
        stage_num_blocks=[1, 1, 2, 1],
        stage_numb_of_layers=[3, 3, 3, 3],
        use_learnable_affine_block=True,
        out_indices=[2, 3, 4],
    )
    config = DFineConfig(
        backbone_config=backbone,
        encoder_in_channels=[256, 512, 1024],
        hidden_expansion=0.5,
        depth_mult=0.34,
        decoder_layers=3,
        decoder_n_points=[3, 6, 3],
        num_labels=80,
    )
    return settled(DFineForObjectDetection, config, RTDetrImageProcessorPil())


TINY: dict[str, Build] = {"d_fine": _tiny}
REAL: dict[str, Build] = {"dfine_small": _real}
