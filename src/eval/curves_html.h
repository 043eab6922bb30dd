// Precision over recall as one HTML file that needs nothing else: no script, no style sheet, no
// font, no picture from outside.
//
// For each kind the mean over the categories, a curve for each of the 10 IoU thresholds, and below
// it a small plot for each category, by falling AP, with the point of the highest F1 at IoU 0.5.
// Area all, the last of the maxima.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/eval.h"

namespace atl::eval {

struct KindCurves {
  IouKind kind = IouKind::kMask;
  const Curves* curves = nullptr;
};

std::string curves_html(std::string_view title,
                        const std::vector<dataset::Category>& categories,
                        std::span<const KindCurves> kinds);

}  // namespace atl::eval
