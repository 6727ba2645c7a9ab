package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// NBD, as https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md has it: fixed newstyle negotiation, one
// export, simple replies.
const (
	nbdMagic        = 0x4e42444d41474943 // "NBDMAGIC"
	nbdOptionMagic  = 0x49484156454f5054 // "IHAVEOPT"
	nbdReplyMagic   = 0x3e889045565a9
	nbdRequestMagic = 0x25609513
	nbdAnswerMagic  = 0x67446698

	nbdFixedNewstyle, nbdNoZeroes = 1, 2

	nbdOptExportName, nbdOptAbort, nbdOptInfo, nbdOptGo = 1, 2, 6, 7
	nbdRepAck, nbdRepInfo, nbdRepUnsupported            = 1, 3, 1<<31 | 1
	nbdInfoExport, nbdInfoBlockSize                     = 0, 3

	nbdHasFlags, nbdSendFlush, nbdSendFUA = 1, 1 << 2, 1 << 3

	nbdRead, nbdWrite, nbdDisconnect, nbdFlush = 0, 1, 2, 3
	nbdFUA                                     = 1 // command flag
	nbdEIO, nbdEINVAL                          = 5, 22

	nbdMaxRequest = 32 << 20
)

// serve answers one client until it goes.
func (d *disk) serve(c net.Conn) error {
	defer c.Close()
	if err := d.negotiate(c); err != nil {
		return err
	}
	var head [28]byte
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		if binary.BigEndian.Uint32(head[:]) != nbdRequestMagic {
			return fmt.Errorf("nbd: a request begins with % x", head[:4])
		}
		flags, kind := binary.BigEndian.Uint16(head[4:]), binary.BigEndian.Uint16(head[6:])
		at, n := int64(binary.BigEndian.Uint64(head[16:])), binary.BigEndian.Uint32(head[24:])
		if kind == nbdDisconnect {
			return nil
		}
		if n > nbdMaxRequest {
			return fmt.Errorf("nbd: a request of %d bytes", n)
		}
		answer := binary.BigEndian.AppendUint32(nil, nbdAnswerMagic)
		answer = append(answer, 0, 0, 0, 0)
		answer = append(answer, head[8:16]...)
		var payload []byte
		var err error
		switch kind {
		case nbdRead:
			payload = make([]byte, n)
			err = d.read(payload, at)
		case nbdWrite:
			data := make([]byte, n)
			if _, err := io.ReadFull(c, data); err != nil {
				return err // a write that has not arrived whole was never answered
			}
			err = d.write(data, at, flags&nbdFUA != 0)
		case nbdFlush:
			err = d.flush()
		default:
			binary.BigEndian.PutUint32(answer[4:], nbdEINVAL)
		}
		if err != nil {
			binary.BigEndian.PutUint32(answer[4:], nbdEIO)
			payload = nil
		}
		if _, err := c.Write(append(answer, payload...)); err != nil {
			return err
		}
	}
}

// negotiate comes to the one export, whatever name is asked for.
func (d *disk) negotiate(c net.Conn) error {
	be := binary.BigEndian
	hello := be.AppendUint64(nil, nbdMagic)
	hello = be.AppendUint64(hello, nbdOptionMagic)
	if _, err := c.Write(be.AppendUint16(hello, nbdFixedNewstyle|nbdNoZeroes)); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(c, flags[:]); err != nil {
		return err
	}
	for {
		var head [16]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		option, n := be.Uint32(head[8:]), be.Uint32(head[12:])
		if be.Uint64(head[:]) != nbdOptionMagic || n > 4096 {
			return fmt.Errorf("nbd: an option begins with % x", head)
		}
		if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
			return err
		}
		export := be.AppendUint64(nil, uint64(d.size))
		export = be.AppendUint16(export, nbdHasFlags|nbdSendFlush|nbdSendFUA)
		switch option {
		case nbdOptExportName:
			_, err := c.Write(export)
			return err
		case nbdOptInfo, nbdOptGo:
			sizes := be.AppendUint16(nil, nbdInfoBlockSize)
			sizes = be.AppendUint32(sizes, sectorBytes)
			sizes = be.AppendUint32(sizes, 4096)
			sizes = be.AppendUint32(sizes, nbdMaxRequest)
			out := optionReply(option, nbdRepInfo, append(be.AppendUint16(nil, nbdInfoExport), export...))
			out = append(out, optionReply(option, nbdRepInfo, sizes)...)
			if _, err := c.Write(append(out, optionReply(option, nbdRepAck, nil)...)); err != nil || option == nbdOptGo {
				return err
			}
		case nbdOptAbort:
			_, _ = c.Write(optionReply(option, nbdRepAck, nil)) // it is going anyway
			return errors.New("nbd: the client does not want the disk")
		default:
			if _, err := c.Write(optionReply(option, nbdRepUnsupported, nil)); err != nil {
				return err
			}
		}
	}
}

func optionReply(option, kind uint32, data []byte) []byte {
	out := binary.BigEndian.AppendUint64(nil, nbdReplyMagic)
	out = binary.BigEndian.AppendUint32(out, option)
	out = binary.BigEndian.AppendUint32(out, kind)
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	return append(out, data...)
}
