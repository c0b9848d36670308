// Which server of a configuration this machine is, for commands that look at the machine. One thread.
#pragma once

#include "src/cli/commands.h"
#include "src/model/configuration.h"

namespace baton::cli {

struct OwnServer {
  Configuration configuration;
  ServerId self;
};

/// By the name that was given, this server's identity, or its addresses, in the configuration that was given or is in place.
Result<OwnServer> find_own_server(const PreflightOptions& options);

}  // namespace baton::cli
