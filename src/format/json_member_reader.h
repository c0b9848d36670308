// Reads one JSON object's members into fields, remembering the first member that does not fit. Missing members leave
// their field alone, unknown ones are ignored. Any thread.
#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "src/model/mirror_report.h"

namespace baton {

/// The names of an enumeration on the wire.
template <class Enum, size_t count>
using WireNames = std::array<std::pair<Enum, std::string_view>, count>;

template <class Enum, size_t count>
std::string wire_name(const WireNames<Enum, count>& names, Enum value) {
  for (const auto& [known, name] : names) {
    if (known == value) return std::string(name);
  }
  return "unknown";
}

class JsonMemberReader {
 public:
  explicit JsonMemberReader(const nlohmann::json& object) : object_(object) {}

  void take(const char* name, std::string& field) {
    if (const auto* member = find(name)) {
      if (!member->is_string()) return wrong(name, "a text");
      field = member->get<std::string>();
    }
  }
  void take(const char* name, bool& field) {
    if (const auto* member = find(name)) {
      if (!member->is_boolean()) return wrong(name, "true or false");
      field = member->get<bool>();
    }
  }
  void take(const char* name, uint64_t& field) {
    if (const auto* member = find(name)) {
      if (!member->is_number_unsigned()) return wrong(name, "a number from 0");
      field = member->get<uint64_t>();
    }
  }
  void take(const char* name, double& field) {
    if (const auto* member = find(name)) {
      if (!member->is_number()) return wrong(name, "a number");
      field = member->get<double>();
    }
  }
  template <class Enum, size_t count>
  void take(const char* name, const WireNames<Enum, count>& names, Enum& field) {
    const auto* member = find(name);
    if (member == nullptr) return;
    if (!member->is_string()) return wrong(name, "a name");
    for (const auto& [value, known] : names) {
      if (member->get_ref<const std::string&>() == known) {
        field = value;
        return;
      }
    }
    wrong(name, "a name that is known");
  }
  void take(const char* name, Generation& field) {
    const auto* member = find(name);
    if (member == nullptr) return;
    if (!member->is_object()) return wrong(name, "an object");
    JsonMemberReader inner(*member);
    inner.take("counter", field.counter);
    inner.take("random", field.random);
    adopt_problem(name, inner);
  }
  /// Whatever is wrong in an inner object is wrong in this one.
  void adopt_problem(const char* name, const JsonMemberReader& inner) {
    if (problem_.empty() && !inner.problem().empty()) problem_ = std::string(name) + "." + inner.problem();
  }
  const nlohmann::json* find(const char* name) const {
    auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }
  void wrong(const char* name, const char* expected) {
    if (problem_.empty()) problem_ = fmt::format("{} is not {}", name, expected);
  }
  const std::string& problem() const { return problem_; }

 private:
  const nlohmann::json& object_;
  std::string problem_;
};

}  // namespace baton
