// SPDX-License-Identifier: MIT
// iid_table.hpp: what a sequence's interning ids stand for.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/formats/id_map.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// Values by iid. Small or dense iids are looked up in a table, others in a map.
///   Threads   one.
///   Cost      O(1) expected.
///   When full it grows.
///   Errors    std::bad_alloc.
template <class T>
class IidTable {
 public:
  void set(std::uint64_t iid, const T& value) {
    if (iid == 0) return;  // is unset
    if (T* known = find(iid)) {
      *known = value;
      return;
    }
    const auto at = static_cast<std::uint32_t>(values_.size());
    values_.push_back(value);
    if (iid < 4096 || iid / 4 < values_.size()) {
      if (iid >= dense_.size()) dense_.resize(static_cast<std::size_t>(iid) + 1 + dense_.size() / 2, IdMap::kAbsent);
      dense_[iid] = at;
    } else {
      rest_.insert(iid, at);
    }
  }
  [[nodiscard]] T* find(std::uint64_t iid) noexcept {
    if (iid < dense_.size() && dense_[iid] != IdMap::kAbsent) [[likely]] return &values_[dense_[iid]];
    if (rest_.size() == 0 || iid == 0) return nullptr;
    const std::uint32_t at = rest_.find(iid);
    return at == IdMap::kAbsent ? nullptr : &values_[at];
  }
  void clear() {
    if (values_.empty()) return;
    values_.clear();
    dense_.clear();
    rest_ = IdMap{};
  }

 private:
  std::vector<T> values_;
  std::vector<std::uint32_t> dense_;
  IdMap rest_;
};

/// Which of a set of numbers were met.
class NumberSet {
 public:
  /// Whether `number`, other than 0, was not there before.
  bool add(std::uint64_t number) {
    if (known_.find(number) != nullptr) return false;
    known_.set(number, 1);
    return true;
  }
  void clear() { known_.clear(); }

 private:
  IidTable<std::uint8_t> known_;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
