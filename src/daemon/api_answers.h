// How the control API answers: results and errors as JSON, and the commit of a person's command. One thread: the loop's.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "src/daemon/daemon.h"
#include "src/daemon/http_server.h"

namespace baton {

void answer(const HttpRespond& respond, const nlohmann::json& body);
void refuse(const HttpRespond& respond, const Error& error, const nlohmann::json& problems = nullptr);

/// The body of a call: a JSON object; an empty one for an empty body.
Result<nlohmann::json> read_body(const HttpRequest& request);
/// A text member; empty if there is none.
std::string text_member(const nlohmann::json& body, const char* name);
bool flag_member(const nlohmann::json& body, const char* name);
/// Whose word it is; who calls himself as Baton does is told apart from it.
std::string person(const std::string& name);
std::string author_of(const nlohmann::json& body);

/// Proposes and answers with what `version_after` says when it is committed, or why it is not.
void commit(Daemon& daemon, const Command& command, const HttpRespond& respond,
            std::function<uint64_t()> version_after);

}  // namespace baton
