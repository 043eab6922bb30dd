"""Random weights at the scale of trained ones: scores that differ and do not saturate, boxes that stay near their
anchors. A full-size network with fresh weights detects nothing (of 91 classes each has a score of 0.011), and one with
plain random weights explodes over sixteen residual blocks.
"""

import torch
from mask_rcnn_goldens import evaluate, fill_weights

# Standard deviation of a layer's output, roughly as after training.
SPREADS = {
    "backbone.fpn.layer_blocks": 1.0,
    "rpn.head.conv": 1.0,
    "rpn.head.cls_logits": 1.5,
    "rpn.head.bbox_pred": 0.15,
    "roi_heads.box_head.fc": 1.0,
    "roi_heads.box_predictor.cls_score": 2.0,
    "roi_heads.box_predictor.bbox_pred": 0.5,
    "roi_heads.mask_head": 1.0,
    "roi_heads.mask_predictor": 1.5,
}


def scale_layer(module, spread):
    """Scales the layer's weights at its first use so that its output has this spread."""

    def hook(_, __, output):
        handle.remove()
        factor = spread / output.std()
        module.weight *= factor
        module.bias *= factor
        return output * factor

    handle = module.register_forward_hook(hook)


def make_lifelike(model, images):
    """Keyed weights for torchvision's model, scaled layer by layer on these pictures (an ImageList)."""
    fill_weights(model)
    with torch.no_grad():
        for name, module in model.named_modules():
            if name.endswith("bn3"):
                module.weight *= 0.3
            spread = next((s for prefix, s in SPREADS.items() if name.startswith(prefix)), None)
            if spread and hasattr(module, "weight"):
                scale_layer(module, spread)
    evaluate(model, images, {})
