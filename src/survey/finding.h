// What a look at the machine found, for people. Plain values, any thread.
#pragma once

#include <string>
#include <vector>

namespace baton::survey {

/// "It is wrong" and "it could not be checked" are different answers.
enum class Verdict { kOk, kWarning, kProblem, kUnknown };

struct Finding {
  std::string check;    // "ports", "mtu", ...: one word
  std::string subject;  // what was looked at: "udp 10.0.1.1:5405"
  Verdict verdict = Verdict::kOk;
  std::string text;
  std::string remedy;  // empty where nothing is to be done
};

using Findings = std::vector<Finding>;

inline const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk: return "ok";
    case Verdict::kWarning: return "warning";
    case Verdict::kProblem: return "problem";
    case Verdict::kUnknown: return "unknown";
  }
  return "unknown";
}

}  // namespace baton::survey
