// Iterator over something that makes its elements when asked: range[i] is a value, not a reference.
#pragma once

#include <compare>
#include <cstddef>
#include <iterator>

namespace atl::dataset {

// The range is held by value: a view.
template <typename Range>
class IndexIterator {
 public:
  using iterator_concept = std::random_access_iterator_tag;
  using iterator_category = std::input_iterator_tag;  // what C++17 allows without references
  using value_type = typename Range::value_type;
  using difference_type = ptrdiff_t;
  using pointer = void;
  using reference = value_type;

  IndexIterator() = default;
  IndexIterator(Range range, size_t index)
      : range_(range), index_(static_cast<difference_type>(index)) {}

  value_type operator*() const { return range_[static_cast<size_t>(index_)]; }
  value_type operator[](difference_type n) const { return range_[static_cast<size_t>(index_ + n)]; }
  IndexIterator& operator++() { return *this += 1; }
  IndexIterator operator++(int) {
    const IndexIterator before = *this;
    ++*this;
    return before;
  }
  IndexIterator& operator--() { return *this -= 1; }
  IndexIterator operator--(int) {
    const IndexIterator before = *this;
    --*this;
    return before;
  }
  IndexIterator& operator+=(difference_type n) {
    index_ += n;
    return *this;
  }
  IndexIterator& operator-=(difference_type n) { return *this += -n; }
  friend IndexIterator operator+(IndexIterator i, difference_type n) { return i += n; }
  friend IndexIterator operator+(difference_type n, IndexIterator i) { return i += n; }
  friend IndexIterator operator-(IndexIterator i, difference_type n) { return i -= n; }
  friend difference_type operator-(const IndexIterator& a, const IndexIterator& b) {
    return a.index_ - b.index_;
  }
  friend bool operator==(const IndexIterator& a, const IndexIterator& b) {
    return a.index_ == b.index_;
  }
  friend auto operator<=>(const IndexIterator& a, const IndexIterator& b) {
    return a.index_ <=> b.index_;
  }

 private:
  Range range_;
  difference_type index_ = 0;
};

}  // namespace atl::dataset
