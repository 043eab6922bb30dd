"""torchvision's Mask R-CNN built from Atoll's model configuration (the JSON of model/model_config.h).

One builder serves the goldens and the benchmarks, so that both sides are always the same
network: the same layers, the same state-dict names, the same hyperparameters.
"""

from functools import partial

from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNN, MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

BLOCKS = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
}


class ResNetOfWidth(ResNet):
    """torchvision's ResNet with another number of channels in its first stage."""

    def __init__(self, depth, width, norm_layer):
        block, layers = BLOCKS[depth]
        super().__init__(block, layers, norm_layer=norm_layer)
        if width == 64:
            return
        self.inplanes = width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm_layer(width)
        self.layer1 = self._narrow_layer(block, width, layers[0], 1)
        self.layer2 = self._narrow_layer(block, 2 * width, layers[1], 2)
        self.layer3 = self._narrow_layer(block, 4 * width, layers[2], 2)
        self.layer4 = self._narrow_layer(block, 8 * width, layers[3], 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _narrow_layer(self, block, planes, count, stride):
        return self._make_layer(block, planes, count, stride=stride)


def make_backbone(config):
    norms = {
        "frozen_batch_norm": partial(FrozenBatchNorm2d, eps=config.get("norm_eps", 1e-5)),
        "batch_norm": partial(nn.BatchNorm2d, eps=config.get("norm_eps", 1e-5)),
    }
    body = ResNetOfWidth(config["backbone_depth"], config["stem_width"], norms[config["norm"]])
    backbone = _resnet_fpn_extractor(body, config["trainable_layers"])
    channels = [body.layer1, body.layer2, body.layer3, body.layer4]
    in_channels = [
        (layer[-1].conv3 if hasattr(layer[-1], "conv3") else layer[-1].conv2).out_channels
        for layer in channels
    ]
    backbone.fpn = FeaturePyramidNetwork(
        in_channels, config["fpn_channels"], extra_blocks=LastLevelMaxPool()
    )
    backbone.out_channels = config["fpn_channels"]
    return backbone


def build_torchvision_model(config):
    """`config`: a dict with every key of ModelConfig's JSON."""
    fpn = config["fpn_channels"]
    classes = config["num_classes"]
    anchors = AnchorGenerator(
        tuple((size,) for size in config["anchor_sizes_px"]),
        (tuple(config["anchor_ratios"]),) * len(config["anchor_sizes_px"]),
    )
    levels = ["0", "1", "2", "3"]
    pool = MultiScaleRoIAlign(levels, config["box_pool_size"], config["box_pool_sampling"])
    mask_pool = MultiScaleRoIAlign(levels, config["mask_pool_size"], config["mask_pool_sampling"])
    mask_convs = config["mask_conv_channels"]
    return MaskRCNN(
        make_backbone(config),
        min_size=config["min_size_px"],
        max_size=config["max_size_px"],
        image_mean=config["image_mean"],
        image_std=config["image_std"],
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(fpn, len(config["anchor_ratios"]), conv_depth=config["rpn_convs"]),
        rpn_pre_nms_top_n_train=config["rpn_pre_nms_top_n_train"],
        rpn_pre_nms_top_n_test=config["rpn_pre_nms_top_n_test"],
        rpn_post_nms_top_n_train=config["rpn_post_nms_top_n_train"],
        rpn_post_nms_top_n_test=config["rpn_post_nms_top_n_test"],
        rpn_nms_thresh=config["rpn_nms_threshold"],
        rpn_fg_iou_thresh=config["rpn_fg_iou"],
        rpn_bg_iou_thresh=config["rpn_bg_iou"],
        rpn_batch_size_per_image=config["rpn_batch_per_image"],
        rpn_positive_fraction=config["rpn_positive_fraction"],
        rpn_score_thresh=config["rpn_score_threshold"],
        box_roi_pool=pool,
        box_head=TwoMLPHead(fpn * config["box_pool_size"] ** 2, config["box_head_channels"]),
        box_predictor=FastRCNNPredictor(config["box_head_channels"], classes),
        box_score_thresh=config["box_score_threshold"],
        box_nms_thresh=config["box_nms_threshold"],
        box_detections_per_img=config["detections_per_image"],
        box_fg_iou_thresh=config["box_fg_iou"],
        box_bg_iou_thresh=config["box_bg_iou"],
        box_batch_size_per_image=config["box_batch_per_image"],
        box_positive_fraction=config["box_positive_fraction"],
        bbox_reg_weights=tuple(config["box_weights"]),
        mask_roi_pool=mask_pool,
        mask_head=MaskRCNNHeads(fpn, mask_convs, 1),
        mask_predictor=MaskRCNNPredictor(mask_convs[-1], config["mask_deconv_channels"], classes),
    )
