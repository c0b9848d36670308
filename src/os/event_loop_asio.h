// The door for code that must share the loop with Boost.Asio (the HTTP server): include it there only.
#pragma once

namespace boost::asio {
class io_context;
}

namespace baton {

class EventLoop;

/// The loop's io_context, valid as long as the loop. Only the loop's thread runs it.
boost::asio::io_context& asio_context_of(EventLoop& loop);

}  // namespace baton
