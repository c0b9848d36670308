// Which of the candidates, and the words for it. Internal to the planner. Pure.
#pragma once

#include <string>
#include <vector>

#include "src/core/planner/candidate.h"

namespace baton::planner {

const Candidate* find_candidate(const std::vector<Candidate>& candidates, ServerId server);

/// "failed there twice (...)".
std::string describe_failures(const Candidate& candidate);

}  // namespace baton::planner
