// The API's listening unix socket as a file: created, taken over from a crashed predecessor, removed. Owner's thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "src/base/result.h"

namespace baton {

struct HttpListener {
  int fd = -1;     // non-blocking; the taker closes it
  ino_t inode = 0; // of the socket file
};

/// Listens on `path` with mode 0600, in a directory that is created if need be. A socket file that nobody listens on is
/// replaced in one step; one that answers is an error (kConflict), and so is anything but a socket.
Result<HttpListener> open_http_listener(const std::string& path);

/// Removes the socket file unless a successor has put its own there.
void remove_http_socket(const std::string& path, ino_t inode);

}  // namespace baton
