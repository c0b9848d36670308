// What a server that joins asks and is answered, as one line of JSON each. docs/protocol.md, "Joining". Pure, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/base/result.h"

namespace baton {

struct JoinRequest {
  std::string name;
  std::vector<std::string> interconnects;
  bool witness = false;
  int64_t wall_ms = 0;  // the joining server's clock
};

struct JoinAnswer {
  std::string error;  // empty: it is one of the cluster now
  std::string name;
  ServerId id;
  std::string key;
  std::string configuration;  // the TOML, with itself in it
};

std::string write_join_request(const JoinRequest& request);
/// Refuses another version of the exchange, and by that of Baton.
Result<JoinRequest> read_join_request(const std::string& line);

std::string write_join_answer(const JoinAnswer& answer);
Result<JoinAnswer> read_join_answer(const std::string& line);

}  // namespace baton
