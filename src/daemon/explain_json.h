// Why a group is as it is at this moment: the part of GET /v1/explain that no transition tells. docs/api.md. Any thread.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace baton {

/// From the asked server's status: {"server", "phase", "owner", "waiting": ["what is waited for, a sentence each"]}.
nlohmann::json explain_now(const nlohmann::json& status, const std::string& group);

}  // namespace baton
