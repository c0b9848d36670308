// The names used here are the wire's: they stay as they are when the C++ ones change.
#include "src/format/mirror_report_json.h"

#include <array>
#include <string_view>
#include <utility>

namespace baton {
namespace {

using nlohmann::json;

template <class Enum, size_t count>
using Names = std::array<std::pair<Enum, std::string_view>, count>;

constexpr Names<MirrorRole, 2> kRoles{{{MirrorRole::kSecondary, "secondary"}, {MirrorRole::kPrimary, "primary"}}};
constexpr Names<MirrorLink, 6> kLinks{{{MirrorLink::kDown, "down"},
                                       {MirrorLink::kConnecting, "connecting"},
                                       {MirrorLink::kCopying, "copying"},
                                       {MirrorLink::kReadmitting, "readmitting"},
                                       {MirrorLink::kConnected, "connected"},
                                       {MirrorLink::kRefused, "refused"}}};
constexpr Names<CopyKind, 3> kCopies{{{CopyKind::kNone, "none"}, {CopyKind::kFast, "fast"}, {CopyKind::kFull, "full"}}};

template <class Enum, size_t count>
std::string name_of(const Names<Enum, count>& names, Enum value) {
  for (const auto& [known, name] : names) {
    if (known == value) return std::string(name);
  }
  return "unknown";
}

/// Reads one object's members into fields, remembering the first member that does not fit.
class MemberReader {
 public:
  explicit MemberReader(const json& object) : object_(object) {}

  void take(const char* name, std::string& field) {
    if (const json* member = find(name)) {
      if (!member->is_string()) return wrong(name, "a text");
      field = member->get<std::string>();
    }
  }
  void take(const char* name, bool& field) {
    if (const json* member = find(name)) {
      if (!member->is_boolean()) return wrong(name, "true or false");
      field = member->get<bool>();
    }
  }
  void take(const char* name, uint64_t& field) {
    if (const json* member = find(name)) {
      if (!member->is_number_unsigned()) return wrong(name, "a number from 0");
      field = member->get<uint64_t>();
    }
  }
  template <class Enum, size_t count>
  void take(const char* name, const Names<Enum, count>& names, Enum& field) {
    const json* member = find(name);
    if (member == nullptr) return;
    if (!member->is_string()) return wrong(name, "a name");
    for (const auto& [value, known] : names) {
      if (member->get<std::string>() == known) {
        field = value;
        return;
      }
    }
    wrong(name, "a name that is known");
  }
  void take(const char* name, Generation& field) {
    const json* member = find(name);
    if (member == nullptr) return;
    if (!member->is_object()) return wrong(name, "an object");
    MemberReader inner(*member);
    inner.take("counter", field.counter);
    inner.take("random", field.random);
    if (!inner.problem().empty()) problem_ = std::string(name) + "." + inner.problem();
  }
  const std::string& problem() const { return problem_; }

 private:
  const json* find(const char* name) const {
    auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }
  void wrong(const char* name, const char* expected) {
    if (problem_.empty()) problem_ = fmt::format("{} is not {}", name, expected);
  }

  const json& object_;
  std::string problem_;
};

}  // namespace

json mirror_report_to_json(const MirrorReport& report) {
  return json{{"role", name_of(kRoles, report.role)},
              {"link", name_of(kLinks, report.link)},
              {"incarnation", report.incarnation.value},
              {"permit", report.permit.value},
              {"generation", {{"counter", report.generation.counter}, {"random", report.generation.random}}},
              {"consistent", report.consistent},
              {"exported", report.exported},
              {"size_bytes", report.size_bytes},
              {"dirty_bytes", report.dirty_bytes},
              {"copy", name_of(kCopies, report.copy)},
              {"copy_reason", report.copy_reason},
              {"copy_total_bytes", report.copy_total_bytes},
              {"copy_done_bytes", report.copy_done_bytes},
              {"copy_sent_bytes", report.copy_sent_bytes},
              {"copy_read_bytes", report.copy_read_bytes},
              {"waiting", report.waiting},
              {"problem", report.problem}};
}

Result<MirrorReport> mirror_report_from_json(const json& object) {
  if (!object.is_object()) return fail_as(ErrorCode::kInvalid, "a mirror report is not a JSON object");
  MirrorReport report;
  MemberReader reader(object);
  reader.take("role", kRoles, report.role);
  reader.take("link", kLinks, report.link);
  reader.take("incarnation", report.incarnation.value);
  reader.take("permit", report.permit.value);
  reader.take("generation", report.generation);
  reader.take("consistent", report.consistent);
  reader.take("exported", report.exported);
  reader.take("size_bytes", report.size_bytes);
  reader.take("dirty_bytes", report.dirty_bytes);
  reader.take("copy", kCopies, report.copy);
  reader.take("copy_reason", report.copy_reason);
  reader.take("copy_total_bytes", report.copy_total_bytes);
  reader.take("copy_done_bytes", report.copy_done_bytes);
  reader.take("copy_sent_bytes", report.copy_sent_bytes);
  reader.take("copy_read_bytes", report.copy_read_bytes);
  reader.take("waiting", report.waiting);
  reader.take("problem", report.problem);
  if (!reader.problem().empty()) {
    return fail_as(ErrorCode::kInvalid, "a mirror report cannot be read: {}", reader.problem());
  }
  return report;
}

}  // namespace baton
