"""Boundary IoU's semantics in plain numpy, put in the place of pycocotools' and the lvis package's IoU.

Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021; as boundary-iou-api
has it: the boundary is the mask without its erosion by a 3 x 3 square, applied round(0.02 * diagonal) times, at least
once, with background beyond the image's edge. A pair's value is the smaller of the IoU of the masks and that of their
boundaries, for a crowd that of the masks."""

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval


def erode(mask, times):
    """A 3 x 3 square `times` times is one square of 2 * times + 1."""
    for _ in range(2):  # along one axis, then along the other
        sums = np.cumsum(np.pad(mask, ((times + 1, times), (0, 0))), axis=0, dtype=np.int64)
        mask = (sums[2 * times + 1:] - sums[:-2 * times - 1] == 2 * times + 1).astype(np.uint8).T
    return mask


def boundary(rle):
    mask = coco_mask.decode(rle)
    height, width = mask.shape
    times = max(1, int(round(0.02 * np.sqrt(height ** 2 + width ** 2))))
    return coco_mask.encode(np.asfortranarray(mask - erode(mask, times)))


def pair_values(detections, truths, crowd):
    values = coco_mask.iou(detections, truths, crowd)
    if not detections or not truths:
        return values
    boundaries = coco_mask.iou([boundary(d) for d in detections], [boundary(g) for g in truths], crowd)
    return np.where(np.array(crowd, bool)[None], values, np.minimum(values, boundaries))


def by_score(detections):
    order = np.argsort([-d["score"] for d in detections], kind="mergesort")
    return [detections[i] for i in order]


class BoundaryEval(COCOeval):
    """pycocotools' evaluator, to be made with iouType "segm"."""

    def computeIoU(self, imgId, catId):
        categories = [catId] if self.params.useCats else self.params.catIds
        truths = [g for c in categories for g in self._gts[imgId, c]]
        detections = by_score([d for c in categories for d in self._dts[imgId, c]])[: self.params.maxDets[-1]]
        if not truths and not detections:
            return []
        return pair_values([d["segmentation"] for d in detections], [g["segmentation"] for g in truths],
                           [int(g["iscrowd"]) for g in truths])


def lvis_compute_iou(self, img_id, cat_id):
    """For an LVISEval made with "segm"."""
    truths, detections = self._get_gt_dt(img_id, cat_id)
    if not truths and not detections:
        return []
    return pair_values([d["segmentation"] for d in by_score(detections)], [g["segmentation"] for g in truths],
                       [0] * len(truths))
