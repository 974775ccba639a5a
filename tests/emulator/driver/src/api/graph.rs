//! `cuGraph*` on whole graphs and executables.

use std::ffi::{c_uint, c_ulonglong};

use crate::abi::{Out, Status, UpdateResult};
use crate::driver::in_context;
use crate::error::CudaError;
use crate::graph::{Executable, Graph, Node, update_result};
use crate::handle::Handle;
use crate::stream::Stream;

/// `CUgraphInstantiate_flags`: freeing on launch, upload, use of node priorities. Device launch is not emulated.
const INSTANTIATE_FLAGS: c_ulonglong = 1 | 2 | 8;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphCreate(graph: Out<Handle<Graph>>, flags: c_uint) -> Status {
    in_context(|session| {
        if flags != 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        graph.put_made(|| Ok(session.create_graph()))
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphDestroy(graph: Handle<Graph>) -> Status {
    in_context(|session| session.destroy_graph(graph))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphInstantiateWithFlags(
    executable: Out<Handle<Executable>>,
    graph: Handle<Graph>,
    flags: c_ulonglong,
) -> Status {
    in_context(|session| {
        if flags & !INSTANTIATE_FLAGS != 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        executable.put_made(|| session.instantiate(graph))
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphExecDestroy(executable: Handle<Executable>) -> Status {
    in_context(|session| session.destroy_executable(executable))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphLaunch(
    executable: Handle<Executable>,
    stream: Handle<Stream>,
) -> Status {
    in_context(|session| {
        session.count_submission()?;
        let stream = session.stream(stream)?;
        session.launch_graph(executable, stream)
    })
}

/// An executable of the emulator has nothing to upload.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphUpload(
    executable: Handle<Executable>,
    stream: Handle<Stream>,
) -> Status {
    in_context(|session| {
        session.stream(stream)?;
        session.state.executables.get(executable).map(|_| ())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphExecUpdate_v2(
    executable: Handle<Executable>,
    graph: Handle<Graph>,
    result: Out<UpdateResult>,
) -> Status {
    in_context(|session| {
        let outcome = session.update_executable(executable, graph)?;
        result.put_if_wanted(UpdateResult {
            result: outcome,
            error_node: 0,
            error_from_node: 0,
        });
        if outcome == update_result::SUCCESS {
            Ok(())
        } else {
            Err(CudaError::GRAPH_EXEC_UPDATE_FAILURE)
        }
    })
}

/// Writes handles and their number as the `cuGraphGet*` functions do: with a null array only the number; with one, as
/// many as fit, the rest of it null.
pub(super) fn list(
    found: &[Handle<Node>],
    nodes: Out<Handle<Node>>,
    count: Out<usize>,
) -> crate::error::DriverResult {
    if nodes.is_null() {
        return count.put(found.len());
    }
    let capacity = count.take()?;
    nodes.put_all(found, capacity)?;
    count.put(found.len().min(capacity))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphGetNodes(
    graph: Handle<Graph>,
    nodes: Out<Handle<Node>>,
    count: Out<usize>,
) -> Status {
    in_context(|session| {
        let all: Vec<_> = session
            .state
            .graphs
            .get(graph)?
            .nodes
            .iter()
            .map(|n| n.handle)
            .collect();
        list(&all, nodes, count)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGraphGetRootNodes(
    graph: Handle<Graph>,
    nodes: Out<Handle<Node>>,
    count: Out<usize>,
) -> Status {
    in_context(|session| {
        let all = &session.state.graphs.get(graph)?.nodes;
        let roots: Vec<_> = all
            .iter()
            .filter(|node| node.dependencies.is_empty())
            .map(|node| node.handle)
            .collect();
        list(&roots, nodes, count)
    })
}
