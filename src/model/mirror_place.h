// Where a mirror stands in a configuration, and who is the first to use it. Plain values, any thread.
#pragma once

#include <string>

#include "src/model/configuration.h"

namespace baton {

/// A mirror's group and its resource there; both nullptr when the configuration has no such mirror.
struct MirrorPlace {
  const GroupConfiguration* group = nullptr;
  const ResourceConfiguration* resource = nullptr;
  explicit operator bool() const { return group != nullptr; }
};

/// By mirror_key(). The pointers live as long as the configuration.
MirrorPlace find_mirror(const Configuration& configuration, const std::string& key);

/// Who may be the first to use new mirrors of the group (docs/protocol.md, S6): the server whose store is adopted, else
/// the first of the policy. REQUIRES: the group has servers.
ServerId first_primary(const Configuration& configuration, const GroupConfiguration& group);

/// Whether a copy of the mirror that is a little behind may take over without a person (docs/protocol.md, A5).
bool trailing_may_take_over(const Configuration& configuration, const std::string& key);

/// The resource as its mirror may differ while the group is up: with the members of `other` that can change then.
ResourceConfiguration with_changeable_members(ResourceConfiguration resource, const ResourceConfiguration& other);

}  // namespace baton
