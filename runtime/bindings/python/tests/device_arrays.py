"""Arrays on a CUDA device, by the driver's own functions: what numpy has none of."""

import ctypes
import unittest

import numpy as np

KINDS = {"float32": (2, 32), "float16": (2, 16), "bfloat16": (4, 16)}


class DlTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("dimensions", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


class Managed(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", DlTensor),
    ]


NAME = b"dltensor_versioned"
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Driver:
    """The driver of this process, the emulated one or a real one, with the primary context of device 0 current."""

    def __init__(self):
        try:
            self.library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise unittest.SkipTest(f"no CUDA driver: {error}") from None
        self.call("cuInit", 0)
        self.context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), 0)
        self.call("cuCtxSetCurrent", self.context)

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name} gave {status}")

    def current(self):
        context = ctypes.c_void_p()
        self.call("cuCtxGetCurrent", ctypes.byref(context))
        return context.value

    def synchronize(self):
        self.call("cuCtxSynchronize")


class DeviceArray:
    """Numbers on device 0. Of bfloat16 the host's array has the upper halves as uint16."""

    def __init__(self, driver, values, kind=None):
        self.driver = driver
        self.host = np.ascontiguousarray(values)
        self.kind = kind or str(self.host.dtype)
        self.shape = self.host.shape
        self.streams = []
        self.data = ctypes.c_uint64()
        driver.call("cuMemAlloc_v2", ctypes.byref(self.data), ctypes.c_size_t(self.host.nbytes))
        self.write(self.host)

    def write(self, values):
        self.driver.call("cuMemcpyHtoD_v2", self.data, values.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(values.nbytes))

    def read(self):
        values = np.empty_like(self.host)
        self.driver.call("cuMemcpyDtoH_v2", values.ctypes.data_as(ctypes.c_void_p), self.data, ctypes.c_size_t(values.nbytes))
        return values

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, *, stream=None, max_version=None):
        self.streams.append(stream)
        self.sizes = (ctypes.c_int64 * len(self.shape))(*self.shape)
        code, bits = KINDS[self.kind]
        tensor = DlTensor(
            self.data.value, *self.__dlpack_device__(), len(self.shape), code, bits, 1, self.sizes, None, 0
        )
        self.managed = Managed(1, 0, None, None, 0, tensor)
        return new_capsule(ctypes.addressof(self.managed), NAME, None)

    def __del__(self):
        self.driver.library.cuMemFree_v2(self.data)

