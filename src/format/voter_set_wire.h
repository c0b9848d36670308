// A set of voters <-> protobuf, for commands and messages. Stateless, any thread.
#pragma once

#include "src/format/cluster.pb.h"
#include "src/model/voter_set.h"

namespace baton {

inline void put_voter_set(const VoterSet& voters, wire::VoterSet& out) {
  for (const ServerId server : voters.now) out.add_now(server.value);
  for (const ServerId server : voters.before) out.add_before(server.value);
}

inline VoterSet take_voter_set(const wire::VoterSet& from) {
  VoterSet voters;
  for (const uint32_t server : from.now()) voters.now.insert(ServerId(server));
  for (const uint32_t server : from.before()) voters.before.insert(ServerId(server));
  return voters;
}

}  // namespace baton
