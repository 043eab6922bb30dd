#include "eval/curves_html.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>

#include "eval/accumulate.h"
#include "eval/tables.h"

namespace atl::eval {
namespace {

using internal::CurveIndex;
using internal::kAreaCount;
using internal::kIouThresholds;
using internal::kRecallCount;
using internal::kThresholdCount;

// From the loosest threshold to the strictest, light to dark: the order shows in grey, too.
constexpr std::array<const char*, kThresholdCount> kColors = {"#f0a83c",
                                                              "#ee8a3d",
                                                              "#e56c46",
                                                              "#d55152",
                                                              "#bf3c60",
                                                              "#a42d6c",
                                                              "#862474",
                                                              "#681f75",
                                                              "#4a1a6c",
                                                              "#2d1458"};

constexpr const char* kStyle = R"(
body{font:14px/1.4 system-ui,sans-serif;margin:24px;color:#222;background:#fff}
h1{font-size:20px;margin:0 0 4px}h2{font-size:17px;margin:28px 0 8px}h3{font-size:14px;margin:20px 0 6px}
p{margin:4px 0;max-width:70em}
.overall{display:flex;flex-wrap:wrap;gap:24px;align-items:flex-start}
.small{display:grid;grid-template-columns:repeat(auto-fill,minmax(168px,1fr));gap:10px}
figure{margin:0}
figcaption{font-size:12px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
figcaption b{float:right;padding-left:6px}
.small svg{display:block;width:100%;height:auto}.overall svg{width:560px;max-width:100%}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:1px 10px 1px 0;text-align:right;font-weight:normal}th{color:#555}
i{display:inline-block;width:18px;height:3px;margin-right:6px;vertical-align:middle}
@media print{figure{break-inside:avoid}}
)";

std::string escaped(std::string_view text) {
  // Through JSON and back: bytes that are no UTF-8 become replacement characters.
  const auto mended = nlohmann::json::parse(internal::json_string(text)).get<std::string>();
  std::string result;
  for (const char c : mended) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        // Control characters are not allowed in HTML.
        result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
  }
  return result;
}

// Precision at the 101 recalls.
using Curve = std::array<double, kRecallCount>;

// What a plot shows: a curve for each threshold, where there is ground truth at all.
struct Plot {
  std::array<Curve, kThresholdCount> curves = {};
  std::array<double, kThresholdCount> ap = {};  // the curves' means
};

void set_means(Plot& plot) {
  for (size_t t = 0; t < kThresholdCount; ++t) {
    plot.ap[t] = internal::numpy_sum(plot.curves[t]) / static_cast<double>(kRecallCount);
  }
}

class Picture {
 public:
  Picture(const std::vector<dataset::Category>& categories, const Curves& curves)
      : categories_(categories),
        curves_(curves),
        index_{categories.size(),
               curves.recall.size() /
                   std::max<size_t>(1, kThresholdCount * kAreaCount * categories.size())} {}

  // By falling AP; those without ground truth are left out.
  std::vector<size_t> order() const {
    std::vector<size_t> order(categories_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::erase_if(order, [&](size_t k) { return curves_.category_ap[k] < 0; });
    std::ranges::stable_sort(
        order, std::greater<>(), [&](size_t k) { return curves_.category_ap[k]; });
    return order;
  }

  Plot of_category(size_t k) const {
    Plot plot;
    for (size_t t = 0; t < kThresholdCount; ++t) {
      for (size_t r = 0; r < kRecallCount; ++r) plot.curves[t][r] = precision(t, r, k);
    }
    set_means(plot);
    return plot;
  }

  Plot of_all(std::span<const size_t> present) const {
    Plot plot;
    for (const size_t k : present) {
      for (size_t t = 0; t < kThresholdCount; ++t) {
        for (size_t r = 0; r < kRecallCount; ++r) plot.curves[t][r] += precision(t, r, k);
      }
    }
    for (Curve& curve : plot.curves) {
      for (double& value : curve) value /= static_cast<double>(std::max<size_t>(1, present.size()));
    }
    set_means(plot);
    return plot;
  }

 private:
  double precision(size_t t, size_t r, size_t k) const {
    return curves_.precision[index_.precision(t, r, k, 0, index_.maxima_count - 1)];
  }

  const std::vector<dataset::Category>& categories_;
  const Curves& curves_;
  CurveIndex index_;
};

// The axes in user units of the SVG.
struct Axes {
  double left;
  double top;
  double width;
  double height;

  double x(double recall) const { return left + width * recall; }
  double y(double precision) const { return top + height * (1 - precision); }
};

// Points in the middle of a straight level run are left out: most of a curve's are.
void append_curve(std::string& html, const Axes& axes, const Curve& curve, const char* color) {
  html += "<polyline fill=\"none\" stroke=\"";
  html += color;
  html += "\" points=\"";
  const auto drawn = [&](size_t r) { return std::lround(axes.y(curve[r]) * 10); };
  const char* space = "";
  for (size_t r = 0; r < kRecallCount; ++r) {
    const bool inner = r > 0 && r + 1 < kRecallCount;
    if (inner && drawn(r) == drawn(r - 1) && drawn(r) == drawn(r + 1)) continue;
    fmt::format_to(std::back_inserter(html),
                   "{}{:.1f},{:.1f}",
                   space,
                   axes.x(static_cast<double>(r) / 100),
                   axes.y(curve[r]));
    space = " ";
  }
  html += "\"/>";
}

void append_grid(std::string& html, const Axes& axes, int lines) {
  for (int i = 1; i < lines; ++i) {
    const double part = static_cast<double>(i) / lines;
    fmt::format_to(
        std::back_inserter(html),
        "<path stroke=\"#e8e8e8\" fill=\"none\" d=\"M{:.1f},{:.1f}h{:.1f}M{:.1f},{:.1f}v{:.1f}\"/>",
        axes.left,
        axes.y(part),
        axes.width,
        axes.x(part),
        axes.top,
        axes.height);
  }
  fmt::format_to(std::back_inserter(html),
                 "<rect stroke=\"#bbb\" fill=\"none\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
                 "height=\"{:.1f}\"/>",
                 axes.left,
                 axes.top,
                 axes.width,
                 axes.height);
}

void append_text(std::string& html, double x, double y, const char* anchor, std::string_view text) {
  fmt::format_to(std::back_inserter(html),
                 "<text font-family=\"sans-serif\" font-size=\"12\" fill=\"#555\" x=\"{:.1f}\" "
                 "y=\"{:.1f}\" text-anchor=\"{}\">{}</text>",
                 x,
                 y,
                 anchor,
                 text);
}

void append_overall(std::string& html, const Plot& plot, size_t categories) {
  constexpr int kTicks = 5;
  const Axes axes{46, 10, 500, 360};
  html +=
      "<div class=\"overall\"><svg viewBox=\"0 0 560 420\" role=\"img\" aria-label=\"precision "
      "over recall, mean of all categories\">";
  append_grid(html, axes, 2 * kTicks);
  for (int i = 0; i <= kTicks; ++i) {
    const double part = static_cast<double>(i) / kTicks;
    append_text(html, axes.x(part), axes.top + axes.height + 16, "middle", fmt::format("{}", part));
    append_text(html, axes.left - 6, axes.y(part) + 4, "end", fmt::format("{}", part));
  }
  append_text(html, axes.x(0.5), axes.top + axes.height + 38, "middle", "recall");
  html += "<g transform=\"rotate(-90)\">";
  append_text(html, -axes.y(0.5), 12, "middle", "precision");
  html += "</g>";
  for (size_t t = 0; t < kThresholdCount; ++t) {
    append_curve(html, axes, plot.curves[t], kColors[t]);
  }
  html += "</svg><table><tr><th>IoU</th><th>AP</th></tr>";
  for (size_t t = 0; t < kThresholdCount; ++t) {
    fmt::format_to(std::back_inserter(html),
                   "<tr><td><i style=\"background:{}\"></i>{:.2f}</td><td>{:.3f}</td></tr>",
                   kColors[t],
                   kIouThresholds[t],
                   plot.ap[t]);
  }
  fmt::format_to(std::back_inserter(html),
                 "<tr><th>mean</th><td>{:.3f}</td></tr><tr><th>categories</th><td>{}</td></tr>"
                 "</table></div>\n",
                 std::accumulate(plot.ap.begin(), plot.ap.end(), 0.0) / kThresholdCount,
                 categories);
}

void append_category(std::string& html,
                     std::string_view name,
                     const Plot& plot,
                     double ap,
                     const std::optional<OperatingPoint>& best) {
  const Axes axes{1, 5, 162, 120};  // a ring on the right edge fits
  const std::string shown = escaped(name);
  fmt::format_to(std::back_inserter(html),
                 "<figure><figcaption title=\"{0}\"><b>{1:.3f}</b>{0}</figcaption>"
                 "<svg viewBox=\"0 0 168 130\" role=\"img\" aria-label=\"{0}\">",
                 shown,
                 ap);
  append_grid(html, axes, 2);
  for (size_t t = 0; t < kThresholdCount; ++t) {
    append_curve(html, axes, plot.curves[t], kColors[t]);
  }
  if (best) {
    fmt::format_to(
        std::back_inserter(html),
        "<circle fill=\"#fff\" stroke=\"#222\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.2\"><title>score "
        "from {:.3f}: precision {:.3f}, recall {:.3f}, F1 {:.3f}</title></circle>",
        axes.x(best->recall),
        axes.y(best->precision),
        best->score,
        best->precision,
        best->recall,
        best->f1);
  }
  html += "</svg></figure>\n";
}

void append_kind(std::string& html,
                 const std::vector<dataset::Category>& categories,
                 const KindCurves& kind) {
  const Picture picture(categories, *kind.curves);
  const std::vector<size_t> order = picture.order();
  fmt::format_to(std::back_inserter(html), "<h2>{}</h2>\n", name_of(kind.kind));
  if (order.empty()) {
    html += "<p>No category has ground truth.</p>\n";
    return;
  }
  append_overall(html, picture.of_all(order), order.size());
  html += "<h3>Categories by AP</h3>\n<div class=\"small\">\n";
  for (const size_t k : order) {
    append_category(html,
                    internal::unique_name(categories, k),
                    picture.of_category(k),
                    kind.curves->category_ap[k],
                    kind.curves->best_f1[k]);
  }
  html += "</div>\n";
  std::string absent;
  for (size_t k = 0; k < categories.size(); ++k) {
    if (kind.curves->category_ap[k] >= 0) continue;
    absent += (absent.empty() ? "" : ", ") + escaped(internal::unique_name(categories, k));
  }
  if (!absent.empty()) html += "<p>Without ground truth: " + absent + "</p>\n";
}

}  // namespace

std::string curves_html(std::string_view title,
                        const std::vector<dataset::Category>& categories,
                        std::span<const KindCurves> kinds) {
  const std::string shown = escaped(title);
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n<title>{0}</title>\n"
      "<style>{1}</style></head>\n<body>\n<h1>{0}</h1>\n"
      "<p>Precision over recall, one curve for each IoU threshold. The ring marks the score with "
      "the highest F1 at IoU 0.5; point at it to read it.</p>\n",
      shown,
      kStyle);
  for (const KindCurves& kind : kinds) append_kind(html, categories, kind);
  return html + "</body></html>\n";
}

}  // namespace atl::eval
