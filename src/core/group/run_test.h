// For tests of a group's run: its steps as lines, "start data", "restart app/worker".
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/core/group/group_run.h"

namespace baton::group {

using Lines = std::vector<std::string>;

inline ResourceConfiguration resource(const std::string& name, ResourceKind kind, std::vector<std::string> after) {
  ResourceConfiguration made;
  made.name = name;
  made.kind = kind;
  made.after = std::move(after);
  made.restarts = usual_restarts(kind);
  return made;
}

class RunTest : public testing::Test {
 protected:
  explicit RunTest(const GroupConfiguration& group) : run_(group, &next_token_) {}

  /// The steps asked for now; remembers their tokens.
  Lines asked() {
    Lines lines;
    for (const auto& step : run_.take_steps()) {
      lines.push_back(std::string(to_string(step.action)) + " " + step.resource + (step.program.empty() ? "" : "/" + step.program));
      tokens_[lines.back()] = step.token;
    }
    return lines;
  }
  void done(const std::string& line, bool ok = true, const std::string& detail = "refused") {
    run_.step_done(now_, tokens_.at(line), ok, ok ? "" : detail);
  }

  Instant now_{1s};
  uint64_t next_token_ = 1;
  GroupRun run_;
  std::map<std::string, uint64_t> tokens_;
};

}  // namespace baton::group
